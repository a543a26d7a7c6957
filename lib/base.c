#include <errno.h>
#include <limits.h>
#include <string.h>

#include "weir/base.h"

#define STRINGIFY(x) #x
#define EXPAND(x) STRINGIFY(x)
#define DOTTED(major, minor, patch) EXPAND(major) "." EXPAND(minor) "." EXPAND(patch)

#ifndef __has_feature
#define __has_feature(x) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || __has_feature(address_sanitizer)
#define BUILT_WITH_ASAN WEIR_FEATURE_ASAN
#else
#define BUILT_WITH_ASAN 0
#endif
#if WEIR_DEBUG
#define BUILT_WITH_DEBUG WEIR_FEATURE_DEBUG
#else
#define BUILT_WITH_DEBUG 0
#endif

/* What the library returns itself comes first, then what it passes on. */
static const struct error_info {
    int number;
    const char *name;
    const char *text;
} error_infos[] = {
    {0, "OK", "success"},
    {EAGAIN, "EAGAIN", "incomplete, full, or not possible just now: try again later"},
    {EBADMSG, "EBADMSG", "the bytes are malformed"},
    {EBUSY, "EBUSY", "still in use: something holds it or a request is in flight"},
    {ECANCELED, "ECANCELED", "the request was cancelled before it finished"},
    {EINVAL, "EINVAL", "a bad configuration or argument"},
    {EMSGSIZE, "EMSGSIZE", "a message is larger than the limit for messages"},
    {ENOBUFS, "ENOBUFS", "a limit of the pool or buffer is reached"},
    {ENOENT, "ENOENT", "there is nothing of that name or key"},
    {ENOMEM, "ENOMEM", "the source of memory, or the kernel, has none left"},
    {ENOSYS, "ENOSYS", "this kernel or build does not offer it"},
    {ENOTCONN, "ENOTCONN", "there is no connection"},
    {EOPNOTSUPP, "EOPNOTSUPP", "the object does not support the operation"},
    {EOVERFLOW, "EOVERFLOW", "a value or size does not fit"},
    {EPERM, "EPERM", "the system does not permit it"},
    {EPIPE, "EPIPE", "the other end no longer receives"},
    {EPROTO, "EPROTO", "the value is of another type than was asked for"},
    {ERANGE, "ERANGE", "a value is outside of the range that was asked for"},
    {ETIME, "ETIME", "the time set for it is over"},
    {ETIMEDOUT, "ETIMEDOUT", "the other end did not answer in time"},

    {EACCES, "EACCES", "access to the file or address is denied"},
    {EADDRINUSE, "EADDRINUSE", "the address is in use already"},
    {EADDRNOTAVAIL, "EADDRNOTAVAIL", "this machine does not have that address"},
    {EAFNOSUPPORT, "EAFNOSUPPORT", "the kind of address is not supported"},
    {EALREADY, "EALREADY", "it is under way already"},
    {EBADF, "EBADF", "the descriptor is not open, or not for this"},
    {ECONNABORTED, "ECONNABORTED", "the connection was given up before it was accepted"},
    {ECONNREFUSED, "ECONNREFUSED", "nobody listens at that address"},
    {ECONNRESET, "ECONNRESET", "the other end broke the connection"},
    {EEXIST, "EEXIST", "it exists already"},
    {EFAULT, "EFAULT", "an address given to the kernel is not valid"},
    {EHOSTUNREACH, "EHOSTUNREACH", "there is no route to the host"},
    {EINTR, "EINTR", "a signal interrupted the call"},
    {EIO, "EIO", "the device failed to read or write"},
    {EISCONN, "EISCONN", "it is connected already"},
    {EMFILE, "EMFILE", "the process has too many open files"},
    {ENETUNREACH, "ENETUNREACH", "there is no route to the network"},
    {ENFILE, "ENFILE", "the system has too many open files"},
    {ENOSPC, "ENOSPC", "the device is full"},
};

static const struct error_info *find_error(int error)
{
    for (size_t i = 0; i < sizeof(error_infos) / sizeof(error_infos[0]); i++) {
        /* The stored number is negated, not the argument: -INT_MIN does not exist. */
        if (-error_infos[i].number == error)
            return &error_infos[i];
    }
    return NULL;
}

const char *weir_version(void)
{
    return DOTTED(WEIR_VERSION_MAJOR, WEIR_VERSION_MINOR, WEIR_VERSION_PATCH);
}

uint32_t weir_features(void)
{
    return BUILT_WITH_DEBUG | BUILT_WITH_ASAN;
}

const char *weir_error_name(int error)
{
    const struct error_info *info = find_error(error);
    const char *name = NULL;

    if (info)
        return info->name;
#ifdef HAVE_STRERRORNAME_NP
    if (error < 0 && error > INT_MIN)
        name = strerrorname_np(-error);
#endif
    return name ? name : "UNKNOWN";
}

const char *weir_error_text(int error)
{
    const struct error_info *info = find_error(error);
    const char *text = NULL;

    if (info)
        return info->text;
    if (error > 0)
        return "not an error";
#ifdef HAVE_STRERRORDESC_NP
    if (error > INT_MIN)
        text = strerrordesc_np(-error);
#endif
    return text ? text : "an error that this system has no name for";
}
