/* SPDX-License-Identifier: MIT */
/**
 * rpc: the envelopes of MessagePack-RPC.
 *
 * Requests [0, id, method, params], responses [1, id, error, result] and notifications
 * [2, method, params], written with a packer and read in place.
 *
 *     weir_rpc_request(&p, 7, weir_view_text("add"), 2);   // two parameters follow
 *     weir_pack_uint(&p, 1);
 *     weir_pack_uint(&p, 2);
 *     ...
 *     struct weir_rpc_message m;
 *     if (weir_rpc_parse(message.view, &m, NULL) == 0 && m.kind == WEIR_RPC_RESPONSE)
 *         finish_call(m.id, m.error, m.result);
 *
 * Lifetime     views in a parsed message lie in the message it was parsed from.
 * Threads      as the packer; parsing: any.
 * Source       MessagePack-RPC specification (github.com/msgpack-rpc/msgpack-rpc, spec.md).
 */
#ifndef WEIR_RPC_H
#define WEIR_RPC_H

#include <stdbool.h>
#include <stdint.h>

#include <weir/base.h>
#include <weir/pack.h>
#include <weir/unpack.h>
#include <weir/view.h>

WEIR_BEGIN_DECLS

/** The first element of an envelope. */
enum weir_rpc_kind { WEIR_RPC_REQUEST = 0, WEIR_RPC_RESPONSE = 1, WEIR_RPC_NOTIFICATION = 2 };

/** An envelope as read. Which fields are set depends on the kind; the others are zero. */
struct weir_rpc_message {
    enum weir_rpc_kind kind;
    uint32_t id;             /**< of requests and responses */
    uint32_t param_count;    /**< of requests and notifications */
    struct weir_view method; /**< of requests and notifications: the text of the name */
    struct weir_view params; /**< of these: the values, one after the other */
    struct weir_view error;  /**< of responses: one value; nil when there is none */
    struct weir_view result; /**< of responses: one value */
    bool failed;             /**< of responses: whether error is not nil */
};

/**
 * Read an envelope. @message is one whole value, as weir_stream_next() hands out.
 *
 * @ret       written on success, and on -EINVAL: kind, id and, if it could be read, the method
 * @ret_fault NULL, or receives what is wrong and where
 * Returns    0; -EINVAL a request or notification whose method is no string or whose params are no
 *            array: what is wrong can be answered, see weir_rpc_error(); -EPROTO it is MessagePack
 *            but no envelope; -EOVERFLOW a kind or id that is negative or above 2^32-1; -EBADMSG,
 *            -EAGAIN it is not one whole value (what follows a wrong type is not looked at).
 */
WEIR_API int weir_rpc_parse(struct weir_view message, struct weir_rpc_message *ret,
                            struct weir_fault *ret_fault);

/** Write the envelope of a request; @param_count values must follow. */
WEIR_INLINE void weir_rpc_request(struct weir_packer *packer, uint32_t id, struct weir_view method,
                                  uint32_t param_count);

/** Write the envelope of a notification; @param_count values must follow. */
WEIR_INLINE void weir_rpc_notification(struct weir_packer *packer, struct weir_view method,
                                       uint32_t param_count);

/** Write the envelope of a response without an error; the result, one value, must follow. */
WEIR_INLINE void weir_rpc_result(struct weir_packer *packer, uint32_t id);

/** Write a whole response with @text as its error and nil as its result. */
WEIR_INLINE void weir_rpc_error(struct weir_packer *packer, uint32_t id, struct weir_view text);

/* --- inline bodies ------------------------------------------------------------------------- */

/* The packer's own address stays out of what is out of line, see pack.h. */

/** Private: the same on a copy of the packer. */
WEIR_API void weir_rpc_request_slow(struct weir_packer *packer, uint32_t id,
                                    struct weir_view method, uint32_t param_count);
WEIR_API void weir_rpc_notification_slow(struct weir_packer *packer, struct weir_view method,
                                         uint32_t param_count);
WEIR_API void weir_rpc_error_slow(struct weir_packer *packer, uint32_t id, struct weir_view text);

WEIR_INLINE void weir_rpc_request(struct weir_packer *packer, uint32_t id, struct weir_view method,
                                  uint32_t param_count)
{
    struct weir_packer copy = *packer;
    weir_rpc_request_slow(&copy, id, method, param_count);
    *packer = copy;
}

WEIR_INLINE void weir_rpc_notification(struct weir_packer *packer, struct weir_view method,
                                       uint32_t param_count)
{
    struct weir_packer copy = *packer;
    weir_rpc_notification_slow(&copy, method, param_count);
    *packer = copy;
}

WEIR_INLINE void weir_rpc_result(struct weir_packer *packer, uint32_t id)
{
    weir_pack_array(packer, 4);
    weir_pack_uint(packer, WEIR_RPC_RESPONSE);
    weir_pack_uint(packer, id);
    weir_pack_nil(packer);
}

WEIR_INLINE void weir_rpc_error(struct weir_packer *packer, uint32_t id, struct weir_view text)
{
    struct weir_packer copy = *packer;
    weir_rpc_error_slow(&copy, id, text);
    *packer = copy;
}

WEIR_END_DECLS

#endif /* WEIR_RPC_H */
