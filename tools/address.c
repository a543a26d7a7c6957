/* SPDX-License-Identifier: MIT */
#include "address.h"

#include <errno.h>
#include <netdb.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define SCHEME_TCP "tcp:"

/* Split HOST:PORT at the last colon, so that only a name is left for the resolver. */
static int look_up(const char *host_port, struct weir_addr *ret, const char **ret_why)
{
    char host[256];
    const char *colon = strrchr(host_port, ':');
    if (colon == NULL || colon == host_port || colon[1] == '\0' ||
        strspn(colon + 1, "0123456789") != strlen(colon + 1)) {
        *ret_why = "not of the form " ADDRESS_FORMS;
        return -EINVAL;
    }
    size_t size = (size_t)(colon - host_port);
    if (size >= sizeof host) {
        *ret_why = "the host name is too long";
        return -ENAMETOOLONG;
    }
    memcpy(host, host_port, size);
    host[size] = '\0';

    struct addrinfo hints = {
        .ai_family = AF_UNSPEC,
        .ai_socktype = SOCK_STREAM,
        .ai_flags = AI_NUMERICSERV | AI_ADDRCONFIG,
    };
    struct addrinfo *found;
    int code = getaddrinfo(host, colon + 1, &hints, &found);
    if (code == EAI_NONAME) {
        /* A machine without any network has only loopback addresses. */
        hints.ai_flags = AI_NUMERICSERV;
        code = getaddrinfo(host, colon + 1, &hints, &found);
    }
    if (code != 0) {
        *ret_why = gai_strerror(code);
        return code == EAI_SERVICE ? -EINVAL : -EHOSTUNREACH;
    }
    memset(ret, 0, sizeof *ret);
    memcpy(&ret->storage, found->ai_addr, found->ai_addrlen);
    ret->size = found->ai_addrlen;
    freeaddrinfo(found);
    return 0;
}

int address_resolve(const char *text, struct weir_addr *ret, const char **ret_why)
{
    int rc = weir_addr_parse(text, ret);
    if (rc == -EINVAL && strncmp(text, SCHEME_TCP, strlen(SCHEME_TCP)) == 0)
        return look_up(text + strlen(SCHEME_TCP), ret, ret_why);
    if (rc == -EINVAL)
        *ret_why = "not of the form " ADDRESS_FORMS;
    else if (rc < 0)
        *ret_why = weir_error_text(rc);
    return rc;
}

const char *address_path(const struct weir_addr *addr)
{
    if (addr->storage.ss_family != AF_UNIX)
        return NULL;
    /* storage is a sockaddr_storage: made to be looked at as the family's own type. */
    const struct sockaddr_un *un = (const struct sockaddr_un *)(const void *)&addr->storage;
    return un->sun_path[0] == '\0' ? NULL : un->sun_path;
}

int address_clear_stale(const struct weir_addr *addr)
{
    struct stat status;
    const char *path = address_path(addr);
    if (path == NULL)
        return 0;
    if (lstat(path, &status) < 0)
        return errno == ENOENT ? 0 : -errno;
    if (!S_ISSOCK(status.st_mode))
        return -EEXIST;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    int rc = connect(fd, (const struct sockaddr *)(const void *)&addr->storage, addr->size);
    int error = rc < 0 ? errno : 0;
    close(fd);
    /* EAGAIN: somebody listens and is busy. */
    if (error == 0 || error == EAGAIN)
        return -EADDRINUSE;
    if (error != ECONNREFUSED)
        return -error;
    return unlink(path) < 0 && errno != ENOENT ? -errno : 0;
}
