/* The load generator: connections to one server that keep it busy for some time.
 *
 *     load run PORT PID CONNECTIONS IN_FLIGHT ADDRESS MILLISECONDS SPINS LOSSY HEX
 *     load hold PORT CONNECTIONS ADDRESS HEX
 *
 * Each connection sends IN_FLIGHT requests in one segment, waits for all the replies and sends the
 * next. HEX are the words that every reply must carry: each is compared. LOSSY 1: the server is
 * known to lose requests, so a segment is done with its first reply. SPINS 1: this process has a
 * core of its own and never sleeps; if it slept, every reply would have to wake it, work for the
 * server's kernel that no client elsewhere makes. PID is the server's, for its CPU time.
 *
 * `run` prints the requests, the replies, and in nanoseconds the wall time, the server's CPU time and
 * the time that the generator had nothing to do. `hold` asks once on each connection, says so with a line, and
 * keeps them until its standard input ends.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <time.h>

#include "wire.h"

enum {
    MAX_IN_FLIGHT = 64,
    MAX_EVENTS = 256,
    TOGETHER = 50, /* connections that wait to be accepted: asyncio lets 100 wait */
    PATIENCE_S = 5,
};

struct connection {
    int fd;
    unsigned sent, expected; /* transaction ids: of the next request, of the next reply */
    unsigned missing; /* replies until the next segment is sent */
    uint64_t sent_ns; /* when the last segment was sent */
    size_t kept;
    uint8_t bytes[2 * MAX_IN_FLIGHT * MAX_REPLY_BYTES];
};

static unsigned in_flight, address, is_lossy;
static uint8_t expected[MAX_REPLY_BYTES]; /* a right reply */
static size_t reply_bytes;
static uint64_t replies, requests;

static uint64_t clock_ns(clockid_t clock)
{
    struct timespec time;
    if (clock_gettime(clock, &time))
        fail("clock_gettime");
    return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

static uint64_t now_ns(void)
{
    return clock_ns(CLOCK_MONOTONIC);
}

static void expect(const char *hex)
{
    size_t words = parse_hex(hex, expected + REPLY_HEAD_BYTES, 2 * MAX_REGISTERS);
    put_reply_head(expected, (unsigned)words / 2);
    reply_bytes = REPLY_HEAD_BYTES + words;
}

static void put_request(uint8_t *at, unsigned transaction)
{
    memset(at, 0, REQUEST_BYTES);
    put16(at, transaction);
    at[5] = 6;
    at[6] = UNIT_ID;
    at[7] = READ_HOLDING;
    put16(at + 8, address);
    put16(at + 10, (unsigned)(reply_bytes - REPLY_HEAD_BYTES) / 2);
}

static void send_segment(struct connection *to, unsigned count)
{
    uint8_t segment[MAX_IN_FLIGHT * REQUEST_BYTES];
    ssize_t size = (ssize_t)(count * REQUEST_BYTES);
    for (unsigned i = 0; i < count; i++)
        put_request(segment + i * REQUEST_BYTES, to->sent++ & 0xffff);
    to->missing = is_lossy ? 1 : count;
    requests += count;
    to->sent_ns = now_ns();
    if (send(to->fd, segment, (size_t)size, MSG_NOSIGNAL) != size)
        fail("send");
}

/* Take what came; return 1 when the segment is answered. */
static int take(struct connection *from)
{
    ssize_t got = recv(from->fd, from->bytes + from->kept, sizeof from->bytes - from->kept, 0);
    if (got < 0 && errno == EAGAIN)
        return 0;
    if (got <= 0)
        give_up(got ? strerror(errno) : "the server hung up");
    from->kept += (size_t)got;
    size_t at = 0;
    for (; from->kept - at >= reply_bytes; at += reply_bytes) {
        unsigned transaction = get16(from->bytes + at);
        if (memcmp(from->bytes + at + 2, expected + 2, reply_bytes - 2)
            || (!is_lossy && transaction != (from->expected++ & 0xffff)))
            give_up("a reply is not what it must be");
        from->missing -= from->missing > 0;
        replies++;
    }
    from->kept -= at;
    memmove(from->bytes, from->bytes + at, from->kept);
    return from->missing == 0;
}

static void connect_to(struct connection *new, unsigned port)
{
    struct sockaddr_in server = loopback(port);
    struct timeval patience = {.tv_sec = PATIENCE_S};
    struct linger reset = {.l_onoff = 1}; /* hanging up leaves no port behind in TIME_WAIT */
    new->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (new->fd < 0 || connect(new->fd, (struct sockaddr *)&server, sizeof server))
        fail("connect");
    send_at_once(new->fd);
    setsockopt(new->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    setsockopt(new->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
}

/* Connect, and ask once: then all are accepted and the way is warm. */
static struct connection *begin_all(unsigned count, unsigned port)
{
    struct connection *all = calloc(count + 1, sizeof *all);
    if (!all)
        fail("calloc");
    for (unsigned start = 0; start < count; start += TOGETHER) {
        unsigned end = start + TOGETHER < count ? start + TOGETHER : count;
        for (unsigned i = start; i < end; i++) {
            connect_to(all + i, port);
            send_segment(all + i, 1);
        }
        for (unsigned i = start; i < end; i++) {
            while (!take(all + i))
                if (now_ns() - all[i].sent_ns > PATIENCE_S * 1000000000ull)
                    give_up("no reply to the first request");
            fcntl(all[i].fd, F_SETFL, O_NONBLOCK);
        }
    }
    return all;
}

static void run(unsigned port, int pid, unsigned count, uint64_t duration_ns, int spins)
{
    struct epoll_event events[MAX_EVENTS];
    struct connection *all = begin_all(count, port);
    clockid_t server;
    if (clock_getcpuclockid(pid, &server))
        give_up("no such server");
    int epoll = epoll_create1(0);
    for (unsigned i = 0; i < count; i++) {
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = all + i};
        if (epoll_ctl(epoll, EPOLL_CTL_ADD, all[i].fd, &event))
            fail("epoll_ctl");
    }

    uint64_t idle_ns = 0, server_ns = clock_ns(server), start = now_ns(), heard = start;
    unsigned open = count;
    replies = requests = 0;
    for (unsigned i = 0; i < count; i++)
        send_segment(all + i, in_flight);
    while (open) {
        uint64_t before = now_ns();
        int ready = epoll_wait(epoll, events, MAX_EVENTS, spins ? 0 : PATIENCE_S * 1000);
        uint64_t now = now_ns();
        if (ready > 0)
            heard = now;
        if (now - heard > PATIENCE_S * 1000000000ull)
            give_up("a reply did not come");
        if (!ready || !spins)
            idle_ns += now - before;
        for (int i = 0; i < ready; i++) {
            struct connection *each = events[i].data.ptr;
            if (!take(each))
                continue;
            if (now - start < duration_ns)
                send_segment(each, in_flight);
            else
                open--;
        }
    }
    uint64_t wall_ns = now_ns() - start;
    server_ns = clock_ns(server) - server_ns;
    printf("%llu %llu %llu %llu %llu\n", (unsigned long long)requests, (unsigned long long)replies,
        (unsigned long long)wall_ns, (unsigned long long)server_ns, (unsigned long long)idle_ns);
}

static void hold(unsigned port, unsigned count)
{
    char input;
    begin_all(count, port);
    puts("held");
    fflush(stdout);
    while (read(STDIN_FILENO, &input, 1) > 0)
        ;
}

int main(int argc, char **argv)
{
    allow_descriptors();
    if (argc == 11 && !strcmp(argv[1], "run")) {
        in_flight = (unsigned)atoi(argv[5]);
        address = (unsigned)atoi(argv[6]);
        is_lossy = (unsigned)atoi(argv[9]);
        expect(argv[10]);
        if (in_flight < 1 || in_flight > MAX_IN_FLIGHT)
            give_up("too much in flight");
        run((unsigned)atoi(argv[2]), atoi(argv[3]), (unsigned)atoi(argv[4]),
            (uint64_t)atoi(argv[7]) * 1000000, atoi(argv[8]));
    } else if (argc == 6 && !strcmp(argv[1], "hold")) {
        address = (unsigned)atoi(argv[4]);
        expect(argv[5]);
        hold((unsigned)atoi(argv[2]), (unsigned)atoi(argv[3]));
    } else {
        give_up("load run … or load hold …: see the source");
    }
    return 0;
}
