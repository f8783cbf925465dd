/* The least that a server can cost: it counts bytes and answers, and looks at nothing.

   For one client of old that puts and gets 100 bytes under a key of four: BURST bytes of request, then one reply. It takes
   what comes as it comes; `whole` as argument: the kernel wakes it for whole requests only. */

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BURST = 4 + 10 + 4 + 4 + 10 + 100 + 4 + 10 + 4, REPLY = 4 + 10 + 100 };

static void serve(int client, int least)
{
    static char data[65536];
    static char reply[REPLY] = "ASTR       100";
    struct epoll_event event = {.events = EPOLLIN};
    int epoll = epoll_create1(0), on = 1;
    long unanswered = 0, count;

    memset(reply + 14, 'x', REPLY - 14);
    setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(client, SOL_SOCKET, SO_RCVLOWAT, &least, sizeof least);
    epoll_ctl(epoll, EPOLL_CTL_ADD, client, &event);
    while (epoll_wait(epoll, &event, 1, -1) == 1 && (count = recv(client, data, sizeof data, 0)) > 0)
        for (unanswered += count; unanswered >= BURST; unanswered -= BURST)
            if (send(client, reply, REPLY, 0) != REPLY)
                break;
    close(epoll);
    close(client);
}

int main(int argc, char **argv)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM, 0), client;
    int least = argc > 1 && strcmp(argv[1], "whole") == 0 ? BURST : 1;

    if (bind(listener, (struct sockaddr *)&address, length) || listen(listener, 5) ||
        getsockname(listener, (struct sockaddr *)&address, &length)) {
        perror("kvsfloor");
        return 1;
    }
    printf("127.0.0.1:%d\n", ntohs(address.sin_port));
    fflush(stdout);
    while ((client = accept(listener, NULL, NULL)) >= 0)
        serve(client, least);
    return 1;
}
