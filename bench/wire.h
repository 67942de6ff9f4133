/* What the programs of the bench share: numbers and frames on the wire, a listening socket, and an
 * end with a reason. Every program ends when its standard input does.
 */
#ifndef WIRE_H
#define WIRE_H

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    UNIT_ID = 1,
    READ_HOLDING = 3,
    REQUEST_BYTES = 12, /* MBAP header, function, address, count */
    REPLY_HEAD_BYTES = 9, /* MBAP header, function, number of bytes */
    MAX_REGISTERS = 125,
    MAX_REPLY_BYTES = REPLY_HEAD_BYTES + 2 * MAX_REGISTERS,
};

static inline void put16(uint8_t *at, unsigned number)
{
    at[0] = (uint8_t)(number >> 8);
    at[1] = (uint8_t)number;
}

static inline unsigned get16(const uint8_t *at)
{
    return (unsigned)at[0] << 8 | at[1];
}

static inline _Noreturn void give_up(const char *why)
{
    fprintf(stderr, "%s\n", why);
    exit(1);
}

static inline _Noreturn void fail(const char *what)
{
    perror(what);
    exit(1);
}

/* Write the bytes of a hexadecimal text to `to`; return how many there are, at most `size`. */
static inline size_t parse_hex(const char *text, uint8_t *to, size_t size)
{
    size_t count = 0;
    unsigned byte;
    while (count < size && sscanf(text + 2 * count, "%2x", &byte) == 1)
        to[count++] = (uint8_t)byte;
    return count;
}

/* Begin a reply: all that stands before the words, except for the transaction id. */
static inline void put_reply_head(uint8_t *at, unsigned registers)
{
    put16(at + 2, 0);
    put16(at + 4, 3 + 2 * registers);
    at[6] = UNIT_ID;
    at[7] = READ_HOLDING;
    at[8] = (uint8_t)(2 * registers);
}

static inline struct sockaddr_in loopback(unsigned port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

static inline void send_at_once(int fd)
{
    int yes = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
}

/* Allow as many descriptors as this process may have. */
static inline void allow_descriptors(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

/* Listen on a free port of loopback and print it. */
static inline int listen_somewhere(void)
{
    struct sockaddr_in address = loopback(0);
    socklen_t size = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, size) || listen(fd, 1024)
        || getsockname(fd, (struct sockaddr *)&address, &size))
        fail("listen");
    printf("%u\n", ntohs(address.sin_port));
    fflush(stdout);
    return fd;
}

#endif
