/* A client that knows nothing but sockets and the wire protocol: it feeds tasks, reads them back and ends the server.
   Usage: oldclient HOST PORT. */
#define _POSIX_C_SOURCE 200112L
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int server;

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static void say(const char *bytes, size_t count) {
    while (count > 0) {
        ssize_t sent = send(server, bytes, count, 0);
        if (sent <= 0) fail("send");
        bytes += sent;
        count -= (size_t)sent;
    }
}

static void hear(char *bytes, size_t count) {
    while (count > 0) {
        ssize_t got = recv(server, bytes, count, 0);
        if (got <= 0) fail("recv");
        bytes += got;
        count -= (size_t)got;
    }
}

static void frame(const char *text) {
    char number[32];
    snprintf(number, sizeof number, "%10zu", strlen(text));
    say(number, 10);
    say(text, strlen(text));
}

static void put(const char *key, const char *value) {
    say("put_", 4);
    frame(key);
    say("ASTR", 4);
    frame(value);
}

static void show(const char *op, const char *key) {
    char coding[5] = "", number[11] = "", *value;
    size_t length;
    say(op, 4);
    frame(key);
    hear(coding, 4);
    hear(number, 10);
    length = strtoul(number, NULL, 10);
    value = calloc(length + 1, 1);
    if (value == NULL || strcmp(coding, "ASTR") != 0) fail("value");
    hear(value, length);
    printf("%s: %s\n", key, value);
    free(value);
}

int main(int argc, char **argv) {
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found;
    if (argc != 3 || getaddrinfo(argv[1], argv[2], &hints, &found) != 0) return 2;
    server = socket(found->ai_family, found->ai_socktype, 0);
    if (server < 0 || connect(server, found->ai_addr, found->ai_addrlen) != 0) fail("connect");
    freeaddrinfo(found);
    put("task source name", "cgen");
    put("work", "echo 1");
    put("work", "echo 2");
    put("work", "DONE");
    show("view", "task source name");
    for (int i = 0; i < 3; i++) show("get_", "work");
    say("down", 4);
    close(server);
    return 0;
}
