/* SPDX-License-Identifier: MIT */
#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#include <weir/sock.h>

#include "ring_backend.h"

/* --- addresses -------------------------------------------------------------------------------- */

static int parse_port(const char *text, in_port_t *ret)
{
    unsigned port = 0;
    if (*text == '\0')
        return -EINVAL;
    for (; *text != '\0'; text++) {
        if (*text < '0' || *text > '9')
            return -EINVAL;
        port = port * 10 + (unsigned)(*text - '0');
        if (port > UINT16_MAX)
            return -EINVAL;
    }
    *ret = htons((uint16_t)port);
    return 0;
}

static void set_inet(struct weir_addr *addr, struct in_addr host, in_port_t port)
{
    struct sockaddr_in inet = {.sin_family = AF_INET, .sin_port = port, .sin_addr = host};
    memset(addr, 0, sizeof *addr);
    memcpy(&addr->storage, &inet, sizeof inet);
    addr->size = sizeof inet;
}

static void set_inet6(struct weir_addr *addr, struct in6_addr host, in_port_t port)
{
    struct sockaddr_in6 inet6 = {.sin6_family = AF_INET6, .sin6_port = port, .sin6_addr = host};
    memset(addr, 0, sizeof *addr);
    memcpy(&addr->storage, &inet6, sizeof inet6);
    addr->size = sizeof inet6;
}

static int parse_tcp(const char *text, struct weir_addr *ret)
{
    char host[INET6_ADDRSTRLEN + 2];
    struct in_addr inet;
    struct in6_addr inet6;
    in_port_t port;
    const char *colon = strrchr(text, ':');
    if (colon == NULL || (size_t)(colon - text) >= sizeof host || parse_port(colon + 1, &port) != 0)
        return -EINVAL;
    size_t size = (size_t)(colon - text);
    memcpy(host, text, size);
    host[size] = '\0';
    if (size == 0) {
        set_inet6(ret, in6addr_any, port);
        return 0;
    }
    if (host[0] == '[' && host[size - 1] == ']') {
        host[size - 1] = '\0';
        if (inet_pton(AF_INET6, host + 1, &inet6) != 1)
            return -EINVAL;
        set_inet6(ret, inet6, port);
        return 0;
    }
    if (inet_pton(AF_INET, host, &inet) != 1)
        return -EINVAL;
    set_inet(ret, inet, port);
    return 0;
}

static int parse_unix(const char *path, struct weir_addr *ret)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    size_t size = strlen(path);
    if (size == 0 || (path[0] == '@' && size == 1))
        return -EINVAL;
    /* One byte for the NUL of a path; an abstract name has none. */
    if (size + (path[0] != '@') > sizeof un.sun_path)
        return -ENAMETOOLONG;
    memcpy(un.sun_path, path, size);
    if (path[0] == '@')
        un.sun_path[0] = '\0';
    else
        size++;
    memset(ret, 0, sizeof *ret);
    memcpy(&ret->storage, &un, sizeof un);
    ret->size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + size);
    return 0;
}

int weir_addr_parse(const char *text, struct weir_addr *ret)
{
    if (strncmp(text, "tcp:", 4) == 0)
        return parse_tcp(text + 4, ret);
    if (strncmp(text, "unix:", 5) == 0)
        return parse_unix(text + 5, ret);
    return -EINVAL;
}

/* Append @part to the text that ends at *@at, which has room for it. */
static void put(char **at, const char *part, size_t size)
{
    memcpy(*at, part, size);
    *at += size;
    **at = '\0';
}

static void put_port(char **at, in_port_t port)
{
    char digits[5];
    unsigned value = ntohs(port);
    size_t first = sizeof digits;
    do {
        digits[--first] = (char)('0' + value % 10);
        value /= 10;
    } while (value != 0);
    put(at, digits + first, sizeof digits - first);
}

static void format_unix(const struct weir_addr *addr, char *at)
{
    struct sockaddr_un un;
    memcpy(&un, &addr->storage, sizeof un);
    size_t head = offsetof(struct sockaddr_un, sun_path);
    size_t size = addr->size > head ? addr->size - head : 0;
    /* Of a path that leaves no room for its NUL the kernel tells the size with one. */
    if (size > sizeof un.sun_path)
        size = sizeof un.sun_path;
    put(&at, "unix:", 5);
    if (size == 0)
        return; /* an unnamed socket, as a client's */
    if (un.sun_path[0] == '\0')
        un.sun_path[0] = '@';
    else
        size = strnlen(un.sun_path, size);
    put(&at, un.sun_path, size);
}

void weir_addr_format(const struct weir_addr *addr, char *text)
{
    char host[INET6_ADDRSTRLEN];
    char *at = text;
    struct sockaddr_in inet;
    struct sockaddr_in6 inet6;
    *text = '\0';
    switch (addr->storage.ss_family) {
    case AF_INET:
        memcpy(&inet, &addr->storage, sizeof inet);
        inet_ntop(AF_INET, &inet.sin_addr, host, sizeof host);
        put(&at, "tcp:", 4);
        put(&at, host, strlen(host));
        put(&at, ":", 1);
        put_port(&at, inet.sin_port);
        break;
    case AF_INET6:
        memcpy(&inet6, &addr->storage, sizeof inet6);
        inet_ntop(AF_INET6, &inet6.sin6_addr, host, sizeof host);
        put(&at, "tcp:[", 5);
        put(&at, host, strlen(host));
        put(&at, "]:", 2);
        put_port(&at, inet6.sin6_port);
        break;
    case AF_UNIX:
        format_unix(addr, at);
        break;
    default:
        put(&at, "unknown:", 8);
        break;
    }
}

/* --- sockets, at once ------------------------------------------------------------------------- */

int weir_sock_local(int fd, struct weir_addr *ret)
{
    struct weir_addr addr = {.size = sizeof addr.storage};
    if (getsockname(fd, (struct sockaddr *)&addr.storage, &addr.size) != 0)
        return -errno;
    *ret = addr;
    return 0;
}

int weir_sock_open(const struct weir_addr *addr, int *ret)
{
    int fd = socket(addr->storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    *ret = fd;
    return 0;
}

/* Set an option that is on or off. Returns 0 or a negative errno. */
static int set_option(int fd, int level, int option, int value)
{
    return setsockopt(fd, level, option, &value, sizeof value) == 0 ? 0 : -errno;
}

int weir_sock_listen(const struct weir_addr *addr, int backlog, int *ret)
{
    int fd = -1;
    int rc = weir_sock_open(addr, &fd);
    if (rc != 0)
        return rc;
    if (addr->storage.ss_family != AF_UNIX)
        rc = set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    if (rc == 0 && addr->storage.ss_family == AF_INET6)
        rc = set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, 0);
    if (rc == 0 && bind(fd, (const struct sockaddr *)&addr->storage, addr->size) != 0)
        rc = -errno;
    if (rc == 0 && listen(fd, backlog) != 0)
        rc = -errno;
    if (rc != 0) {
        close(fd);
        return rc;
    }
    *ret = fd;
    return 0;
}

/* --- requests --------------------------------------------------------------------------------- */

int weir_sock_connect(struct weir_ring *ring, struct weir_op *op, int fd,
                      const struct weir_addr *addr)
{
    weir__op_set(op, WEIR_OP_CONNECT, fd);
    op->args.addr.addr = (const struct sockaddr *)&addr->storage;
    op->args.addr.size = addr->size;
    return weir__ring_start(ring, op);
}

int weir_sock_accept(struct weir_ring *ring, struct weir_op *op, int fd)
{
    weir__op_set(op, WEIR_OP_ACCEPT, fd);
    return weir__ring_start(ring, op);
}

int weir_sock_receive(struct weir_ring *ring, struct weir_op *op, int fd)
{
    weir__op_set(op, WEIR_OP_RECEIVE, fd);
    return weir__ring_start(ring, op);
}

int weir_sock_send(struct weir_ring *ring, struct weir_op *op, int fd,
                   const struct weir_slice *slice)
{
    weir__op_set(op, WEIR_OP_SEND, fd);
    op->block = slice->block;
    op->args.io.data = (void *)(uintptr_t)slice->view.data;
    op->args.io.size = slice->view.size;
    return weir__ring_start(ring, op);
}

int weir_sock_sendv(struct weir_ring *ring, struct weir_op *op, int fd, const struct iovec *iov,
                    struct weir_block *const *blocks, unsigned count)
{
    assert(count <= UIO_MAXIOV);
    weir__op_set(op, WEIR_OP_SENDV, fd);
    op->blocks = blocks;
    op->block_count = blocks != NULL ? count : 0;
    memset(&op->args.msg, 0, sizeof op->args.msg);
    op->args.msg.msg_iov = (struct iovec *)(uintptr_t)iov;
    op->args.msg.msg_iovlen = count;
    return weir__ring_start(ring, op);
}
