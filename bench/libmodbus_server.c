/* A single-threaded server as libmodbus makes it easy, with epoll in place of select.
 *
 *     libmodbus_server FIRST HEX     registers from address FIRST on
 */
#include <modbus/modbus.h>
#include <sys/epoll.h>
#include <sys/select.h>

#include "wire.h"

enum { MAX_EVENTS = 256 };

static void watch(int epoll, int fd)
{
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event))
        fail("epoll_ctl");
}

static void welcome(int epoll, int listener)
{
    int fd = accept(listener, NULL, NULL);
    if (fd < 0)
        fail("accept");
    if (fd >= FD_SETSIZE) { /* libmodbus waits with select */
        close(fd);
        return;
    }
    send_at_once(fd);
    watch(epoll, fd);
}

/* Answer one request; return 0 when the connection is over. */
static int serve(modbus_t *modbus, modbus_mapping_t *mapping, int fd)
{
    uint8_t request[MODBUS_TCP_MAX_ADU_LENGTH];
    modbus_set_socket(modbus, fd);
    int size = modbus_receive(modbus, request);
    return size >= 0 && modbus_reply(modbus, request, size, mapping) >= 0;
}

int main(int argc, char **argv)
{
    static uint8_t image[2 * 65536];
    if (argc != 3)
        give_up("libmodbus_server FIRST HEX");
    unsigned first = (unsigned)atoi(argv[1]);
    unsigned registers = (unsigned)parse_hex(argv[2], image, sizeof image) / 2;
    modbus_t *modbus = modbus_new_tcp("127.0.0.1", 0);
    modbus_mapping_t *mapping
        = modbus_mapping_new_start_address(0, 0, 0, 0, first, registers, 0, 0);
    if (!modbus || !mapping)
        fail("libmodbus");
    for (unsigned i = 0; i < registers; i++)
        mapping->tab_registers[i] = (uint16_t)get16(image + 2 * i);
    struct epoll_event events[MAX_EVENTS];
    int epoll = epoll_create1(0), listener = listen_somewhere();
    allow_descriptors();
    watch(epoll, STDIN_FILENO);
    watch(epoll, listener);
    for (;;) {
        int count = epoll_wait(epoll, events, MAX_EVENTS, -1);
        for (int i = 0; i < count; i++) {
            int fd = events[i].data.fd;
            if (fd == STDIN_FILENO)
                return 0;
            if (fd == listener)
                welcome(epoll, listener);
            else if (!serve(modbus, mapping, fd))
                close(fd);
        }
    }
}
