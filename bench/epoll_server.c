/* The limit of the machine: a Modbus TCP server that slices an image encoded beforehand.
 *
 *     epoll_server FIRST HEX     registers from address FIRST on
 *
 * It answers function 3 inside its image, and hangs up on all else and on clients that do not read.
 */
#define _GNU_SOURCE
#include <sys/epoll.h>

#include "wire.h"

enum { READ_BYTES = 4096, MAX_EVENTS = 256 };

struct client {
    int fd;
    size_t kept; /* bytes of a request that has only begun */
    uint8_t bytes[REQUEST_BYTES];
};

static uint8_t image[2 * 65536];
static unsigned first;
static size_t image_bytes;
static uint8_t in[REQUEST_BYTES + READ_BYTES];
static uint8_t out[(sizeof in / REQUEST_BYTES) * MAX_REPLY_BYTES];

/* Write the reply to one request; return its bytes, 0 if this is no read of the image. */
static size_t answer(const uint8_t *request, uint8_t *reply)
{
    unsigned address = get16(request + 8), count = get16(request + 10);
    size_t start = 2 * (size_t)(address - first);
    if (get16(request + 2) || get16(request + 4) != 6 || request[6] != UNIT_ID
        || request[7] != READ_HOLDING || count < 1 || count > MAX_REGISTERS || address < first
        || start + 2 * count > image_bytes)
        return 0;
    memcpy(reply, request, 2);
    put_reply_head(reply, count);
    memcpy(reply + REPLY_HEAD_BYTES, image + start, 2 * count);
    return REPLY_HEAD_BYTES + 2 * count;
}

/* Answer what came; return 0 when the connection is over. */
static int serve(struct client *client)
{
    memcpy(in, client->bytes, client->kept);
    ssize_t got = recv(client->fd, in + client->kept, READ_BYTES, 0);
    if (got <= 0)
        return 0;
    size_t end = client->kept + (size_t)got, at = 0, replied = 0;
    for (; end - at >= REQUEST_BYTES; at += REQUEST_BYTES) {
        size_t size = answer(in + at, out + replied);
        if (!size)
            return 0;
        replied += size;
    }
    client->kept = end - at;
    memcpy(client->bytes, in + at, client->kept);
    return !replied || send(client->fd, out, replied, MSG_NOSIGNAL) == (ssize_t)replied;
}

static void watch(int epoll, int fd, void *pointer)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = pointer};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event))
        fail("epoll_ctl");
}

static void welcome(int epoll, int listener)
{
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
    struct client *client = calloc(1, sizeof *client);
    if (fd < 0 || !client)
        fail("accept");
    send_at_once(fd);
    client->fd = fd;
    watch(epoll, fd, client);
}

int main(int argc, char **argv)
{
    if (argc != 3)
        give_up("epoll_server FIRST HEX");
    first = (unsigned)atoi(argv[1]);
    image_bytes = parse_hex(argv[2], image, sizeof image);
    allow_descriptors();
    struct epoll_event events[MAX_EVENTS];
    int epoll = epoll_create1(0), listener = listen_somewhere();
    watch(epoll, STDIN_FILENO, NULL);
    watch(epoll, listener, &listener);
    for (;;) {
        int count = epoll_wait(epoll, events, MAX_EVENTS, -1);
        for (int i = 0; i < count; i++) {
            struct client *client = events[i].data.ptr;
            if (!client)
                return 0;
            if ((void *)client == &listener) {
                welcome(epoll, listener);
            } else if (!serve(client)) {
                close(client->fd);
                free(client);
            }
        }
    }
}
