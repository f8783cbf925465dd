/* A program that feeds tasks to disBatch over a plain socket, with nothing but the C library.
 *
 *     disBatch -s localhost:2 --insecure-kvs --taskcommand './feed_plain 25'
 *
 * It sends as many tasks as its argument says, waits for each one's record, prints the records (JSON, one a line), and
 * says that it is done. The protocol: four-byte operations; a number is ten characters, right-justified, decimal.
 */
#define _POSIX_C_SOURCE 200809L
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int sock = -1;

static void fail(const char *why)
{
    fprintf(stderr, "feed_plain: %s\n", why);
    exit(2);
}

static void send_all(const char *data, size_t length)
{
    while (length > 0) {
        ssize_t sent = send(sock, data, length, MSG_NOSIGNAL);
        if (sent <= 0)
            fail("the server is gone");
        data += sent;
        length -= (size_t)sent;
    }
}

static void receive_all(char *data, size_t length)
{
    while (length > 0) {
        ssize_t came = recv(sock, data, length, 0);
        if (came <= 0)
            fail("the server is gone");
        data += came;
        length -= (size_t)came;
    }
}

static void send_counted(const char *text)
{
    char number[24];
    snprintf(number, sizeof number, "%10zu", strlen(text));
    send_all(number, 10);
    send_all(text, strlen(text));
}

static void put(const char *key, const char *value)
{
    send_all("put_", 4);
    send_counted(key);
    send_all("ASTR", 4);
    send_counted(value);
}

/* The oldest value of the key; waits for one. The caller frees it. */
static char *get(const char *key)
{
    char head[15] = {0};
    send_all("get_", 4);
    send_counted(key);
    receive_all(head, 14); /* coding, length */
    size_t length = strtoul(head + 4, NULL, 10);
    char *value = malloc(length + 1);
    if (value == NULL)
        fail("no memory");
    receive_all(value, length);
    value[length] = '\0';
    return value;
}

static void connect_to_server(void)
{
    const char *host = getenv("KVSSTCP_HOST"), *port = getenv("KVSSTCP_PORT");
    if (host == NULL || port == NULL)
        fail("KVSSTCP_HOST and KVSSTCP_PORT are not set (disBatch --insecure-kvs sets them)");
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found;
    if (getaddrinfo(host, port, &hints, &found) != 0)
        fail("no such host");
    sock = socket(found->ai_family, found->ai_socktype, found->ai_protocol);
    if (sock < 0 || connect(sock, found->ai_addr, found->ai_addrlen) != 0)
        fail("cannot connect");
    freeaddrinfo(found);
}

int main(int argc, char **argv)
{
    int count = argc > 1 ? atoi(argv[1]) : 1;
    char text[64];

    connect_to_server();
    put("task source name", "feed_plain");
    put("task source done task", "no more");
    put("task source result key", "c result");
    put("task source task key", "c task");
    for (int i = 0; i < count; i++) {
        snprintf(text, sizeof text, "exit %d", i % 5);
        put("c task", text);
    }
    for (int i = 0; i < count; i++) {
        char *id = get("c result done tasks");
        snprintf(text, sizeof text, "c result %s", id);
        char *record = get(text);
        puts(record);
        free(record);
        free(id);
    }
    put("c task", "no more");
    send_all("clos", 4);
    close(sock);
    return 0;
}
