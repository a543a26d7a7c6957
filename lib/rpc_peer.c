/* SPDX-License-Identifier: MIT */
#include <assert.h>
#include <errno.h>
#include <string.h>
#include <time.h>

#include <weir/rpc_peer.h>

#define SLOTS_FIRST 16u
#define TICK_MS 10u
#define CALLS_DEFAULT 65536u
#define NO_SLOT UINT32_MAX

static const char no_answer[] = "the other side ended before it answered";

/* --- calls under way -------------------------------------------------------------------------- */

/*
 * A call's id is the place that it has in the table, and how often that was used before. So an
 * answer finds its call at once, and one that comes too late finds that the place is another's.
 * Free places are taken in the order in which they became free, which takes longest to come back to
 * the same id.
 */

static void append_free(struct weir_rpc_peer *peer, uint32_t index)
{
    struct weir_rpc_slot *slot = &peer->slots[index];
    slot->call = NULL;
    slot->next_free = NO_SLOT;
    if (peer->free_first == NO_SLOT)
        peer->free_first = index;
    else
        peer->slots[peer->free_last].next_free = index;
    peer->free_last = index;
}

static int grow_slots(struct weir_rpc_peer *peer)
{
    uint32_t most = peer->options.calls_max;
    uint32_t count = peer->slot_count != 0 ? 2 * peer->slot_count : SLOTS_FIRST;
    struct weir_block *home;
    if (peer->slot_count == most)
        return -EAGAIN;
    if (count > most)
        count = most;
    size_t bytes = count * sizeof(struct weir_rpc_slot);
    int rc = weir_pool_alloc(weir_ring_pool(peer->conn.ring), bytes, &home);
    if (rc != 0)
        return rc;
    struct weir_rpc_slot *slots = (struct weir_rpc_slot *)(void *)home->data;
    memset(slots, 0, bytes);
    if (peer->slot_count != 0)
        memcpy(slots, peer->slots, peer->slot_count * sizeof *slots);
    weir_block_drop(peer->slots_home);
    peer->slots_home = home;
    peer->slots = slots;
    for (uint32_t i = peer->slot_count; i < count; i++)
        append_free(peer, i);
    peer->slot_count = count;
    return 0;
}

static uint32_t index_of(const struct weir_rpc_peer *peer, uint32_t id)
{
    return id & ((1u << peer->index_bits) - 1);
}

/* The call that waits for an answer with @id; NULL: none. */
static struct weir_rpc_call *find_call(const struct weir_rpc_peer *peer, uint32_t id)
{
    uint32_t index = index_of(peer, id);
    if (index >= peer->slot_count)
        return NULL;
    struct weir_rpc_call *call = peer->slots[index].call;
    return call != NULL && call->id == id ? call : NULL;
}

static void unlink_timer(struct weir_rpc_peer *peer, struct weir_rpc_call *call)
{
    if (call->at == NULL)
        return;
    *call->at = call->next;
    if (call->next != NULL)
        call->next->at = call->at;
    call->at = NULL;
    call->next = NULL;
    peer->timed_count--;
}

/* The call is the caller's again. */
static void take_out(struct weir_rpc_peer *peer, struct weir_rpc_call *call)
{
    uint32_t index = index_of(peer, call->id);
    assert(call->peer == peer && peer->slots[index].call == call && peer->call_count != 0);
    unlink_timer(peer, call);
    peer->slots[index].generation++;
    append_free(peer, index);
    peer->call_count--;
    call->peer = NULL;
}

/* All is answered that ever will be: close in good order. */
static void finish_if_done(struct weir_rpc_peer *peer)
{
    if (!(peer->ended || peer->draining) || peer->closed || peer->completing)
        return;
    if (peer->later_count == 0 && peer->call_count == 0)
        weir_conn_finish(&peer->conn);
}

static void complete(struct weir_rpc_peer *peer, struct weir_rpc_call *call,
                     const struct weir_rpc_answer *answer)
{
    take_out(peer, call);
    call->done(call, answer);
}

static void complete_all(struct weir_rpc_peer *peer, int error, const char *reason)
{
    struct weir_rpc_answer answer = {.error = error, .reason = reason};
    peer->completing = true;
    for (uint32_t i = 0; i < peer->slot_count; i++)
        if (peer->slots[i].call != NULL)
            complete(peer, peer->slots[i].call, &answer);
    peer->completing = false;
    assert(peer->call_count == 0);
}

/* --- time ------------------------------------------------------------------------------------- */

/*
 * A wheel: a call lies in the list of the tick at which its time is over, modulo the wheel. The
 * timer runs while there is such a call, once a tick.
 */

static int64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static int64_t tick_ns(const struct weir_rpc_peer *peer)
{
    return (int64_t)peer->options.tick_ms * 1000000;
}

static uint64_t ticks_now(const struct weir_rpc_peer *peer)
{
    return (uint64_t)((now_ns() - peer->tick_begin_ns) / tick_ns(peer));
}

static void start_timer(struct weir_rpc_peer *peer)
{
    if (peer->timed_count == 0 || peer->closed || weir_op_is_active(&peer->timer))
        return;
    int64_t next_ns = peer->tick_begin_ns + (int64_t)(peer->tick + 1) * tick_ns(peer);
    /* A ring that is being destroyed closes the connection, which completes the calls. */
    (void)weir_ring_timeout_at(peer->conn.ring, &peer->timer, next_ns);
}

static void link_to(struct weir_rpc_call *call, struct weir_rpc_call **list)
{
    call->next = *list;
    if (call->next != NULL)
        call->next->at = &call->next;
    call->at = list;
    *list = call;
}

static void link_timer(struct weir_rpc_peer *peer, struct weir_rpc_call *call, uint32_t timeout_ms)
{
    uint32_t tick_ms = peer->options.tick_ms;
    if (peer->timed_count == 0)
        peer->tick = ticks_now(peer);
    /* What is left of this tick does not count; nor does a tick that is over and not handled. */
    uint64_t now = peer->timed_count == 0 ? peer->tick : ticks_now(peer);
    call->due_tick = now + 1 + (timeout_ms + (uint64_t)tick_ms - 1) / tick_ms;
    link_to(call, &peer->wheel[call->due_tick % WEIR_RPC_WHEEL]);
    peer->timed_count++;
    start_timer(peer);
}

/* Complete those of one tick whose time is over: in a list of their own, from which done functions
 * may take any. */
static void end_tick(struct weir_rpc_peer *peer)
{
    struct weir_rpc_answer answer = {.error = -ETIMEDOUT, .reason = "no answer in time"};
    struct weir_rpc_call *call = peer->wheel[peer->tick % WEIR_RPC_WHEEL];
    struct weir_rpc_call *due = NULL;
    while (call != NULL) {
        struct weir_rpc_call *next = call->next;
        if (call->due_tick <= peer->tick) {
            unlink_timer(peer, call);
            link_to(call, &due);
            peer->timed_count++;
        }
        call = next;
    }
    while (due != NULL) {
        peer->stats.timeouts++;
        complete(peer, due, &answer);
    }
}

static void tell_closed(struct weir_rpc_peer *peer);

static void on_timer(struct weir_op *op)
{
    struct weir_rpc_peer *peer = op->user;
    if (peer->closed) {
        tell_closed(peer);
        return;
    }
    uint64_t now = ticks_now(peer);
    /* After a long sleep one round of the wheel finds all. */
    if (now > peer->tick + WEIR_RPC_WHEEL)
        peer->tick = now - WEIR_RPC_WHEEL;
    peer->completing = true;
    while (op->result == 0 && peer->tick < now && peer->timed_count != 0) {
        peer->tick++;
        end_tick(peer);
    }
    peer->completing = false;
    start_timer(peer);
    finish_if_done(peer);
}

/* --- what comes ------------------------------------------------------------------------------- */

/* What came is no envelope: look at no more of it. What it asked for before is still answered. */
static void refuse(struct weir_rpc_peer *peer, int error, uint64_t offset, const char *reason)
{
    peer->fault.error = error;
    peer->fault.offset = (size_t)offset;
    peer->fault.reason = reason;
    peer->ended = true;
    weir_conn_pause(&peer->conn);
    complete_all(peer, error, reason);
    finish_if_done(peer);
}

static void on_answer(struct weir_rpc_peer *peer, const struct weir_slice *message, uint32_t id,
                      struct weir_view error, struct weir_view result)
{
    struct weir_rpc_answer answer = {.reason = "", .message = message};
    struct weir_rpc_call *call = find_call(peer, id);
    if (call == NULL) {
        peer->stats.strays++;
        return;
    }
    peer->stats.answers++;
    if (error.size == 1 && error.data[0] == WEIR_TAG_NIL) {
        answer.result = result;
    } else {
        answer.error = -EREMOTEIO;
        answer.reason = "the other side answered with an error";
        answer.error_value = error;
    }
    complete(peer, call, &answer);
    finish_if_done(peer);
}

static const struct weir_rpc_method *find_method(struct weir_rpc_peer *peer, struct weir_view name)
{
    const struct weir_rpc_method *last = peer->last;
    if (last != NULL && weir_view_equal(name, weir_view_text(last->name)))
        return last;
    for (size_t i = 0; i < peer->options.method_count; i++) {
        const struct weir_rpc_method *method = &peer->options.methods[i];
        if (weir_view_equal(name, weir_view_text(method->name))) {
            peer->last = method;
            return method;
        }
    }
    return NULL;
}

static void answer_nil(struct weir_rpc_request *request)
{
    struct weir_packer p;
    weir_rpc_answer_begin(request, &p);
    weir_pack_nil(&p);
    weir_rpc_answer_end(request, &p);
}

static void dispatch(struct weir_rpc_peer *peer, struct weir_rpc_request *request)
{
    if (request->is_notification)
        peer->stats.notifications++;
    else
        peer->stats.requests++;
    const struct weir_rpc_method *method = find_method(peer, request->method);
    if (WEIR_UNLIKELY(peer->draining))
        weir_rpc_answer_error(request, "shutting down");
    else if (WEIR_LIKELY(method != NULL))
        method->run(request);
    else if (peer->options.other != NULL)
        peer->options.other(request);
    else
        weir_rpc_answer_error(request, "no such method");
    if (!request->is_answered && !request->is_notification)
        answer_nil(request);
}

/* What is not as it mostly is: find out what is wrong with it. */
static void on_wrong(struct weir_rpc_peer *peer, const struct weir_slice *message, uint64_t begin)
{
    struct weir_rpc_message wrong;
    struct weir_fault fault;
    int rc = weir_rpc_parse(message->view, &wrong, &fault);
    assert(rc != 0);
    if (rc != -EINVAL) {
        refuse(peer, rc, begin + fault.offset, fault.reason);
        return;
    }
    struct weir_rpc_request request = {
        .peer = peer,
        .message = message,
        .id = wrong.id,
        .is_notification = wrong.kind == WEIR_RPC_NOTIFICATION,
    };
    if (request.is_notification)
        peer->stats.notifications++;
    else
        peer->stats.requests++;
    weir_rpc_answer_error(&request, fault.reason);
}

/*
 * The stream has seen that this is one whole value, so what stands behind the last head of an
 * envelope that has as many elements as it should is as many values as it should be: they are not
 * looked at here.
 */
static void on_message(struct weir_conn *conn, const struct weir_slice *message)
{
    struct weir_rpc_peer *peer = conn->user;
    uint64_t begin = peer->received_bytes;
    struct weir_rpc_request request;
    struct weir_unpacker u;
    struct weir_view error;
    uint32_t length = 0;
    uint32_t kind = UINT32_MAX;
    peer->received_bytes += message->view.size;
    weir_unpack_init(&u, message->view, NULL);
    weir_unpack_array(&u, &length);
    weir_unpack_u32(&u, &kind);
    request.id = 0;
    if (kind <= WEIR_RPC_RESPONSE && length == 4)
        weir_unpack_u32(&u, &request.id);
    else if (kind != WEIR_RPC_NOTIFICATION || length != 3)
        kind = UINT32_MAX;
    if (kind == WEIR_RPC_RESPONSE) {
        if (weir_unpack_raw(&u, &error) == 0) {
            on_answer(peer, message, request.id, error,
                      weir_view_of(u.pos, (size_t)(u.end - u.pos)));
            return;
        }
    } else if (kind != UINT32_MAX) {
        weir_unpack_str(&u, &request.method);
        weir_unpack_array(&u, &request.param_count);
        if (WEIR_LIKELY(u.error == 0)) {
            request.peer = peer;
            request.message = message;
            request.params = u;
            request.param_bytes = weir_view_of(u.pos, (size_t)(u.end - u.pos));
            request.is_notification = kind == WEIR_RPC_NOTIFICATION;
            request.is_answered = false;
            dispatch(peer, &request);
            return;
        }
    }
    on_wrong(peer, message, begin);
}

static void on_ended(struct weir_conn *conn)
{
    struct weir_rpc_peer *peer = conn->user;
    peer->ended = true;
    complete_all(peer, -ECONNRESET, no_answer);
    finish_if_done(peer);
}

/* --- the end ---------------------------------------------------------------------------------- */

/* The connection is closed; when the timer is over as well, the peer is the owner's. */
static void tell_closed(struct weir_rpc_peer *peer)
{
    struct weir_fault why = peer->fault;
    if (weir_op_is_active(&peer->timer))
        return;
    peer->options.closed(peer, &why);
}

static void on_closed(struct weir_conn *conn, const struct weir_fault *why)
{
    struct weir_rpc_peer *peer = conn->user;
    peer->closed = true;
    if (peer->fault.error == 0)
        peer->fault = *why;
    const char *reason = peer->fault.error != 0 ? peer->fault.reason : no_answer;
    complete_all(peer, peer->fault.error != 0 ? peer->fault.error : -ECONNRESET, reason);
    while (peer->laters != NULL) {
        struct weir_rpc_later *later = peer->laters;
        peer->laters = later->next;
        later->peer = NULL;
        later->next = NULL;
        later->at = NULL;
    }
    weir_block_drop(peer->slots_home);
    peer->slots_home = NULL;
    peer->slots = NULL;
    peer->slot_count = 0;
    weir_op_cancel(&peer->timer);
    tell_closed(peer);
}

/* --- the owner's side ------------------------------------------------------------------------- */

int weir_rpc_peer_init(struct weir_rpc_peer *peer, struct weir_ring *ring, int fd,
                       const struct weir_rpc_peer_options *options, void *user)
{
    static const struct weir_conn_handlers handlers = {on_message, on_ended, on_closed};
    assert(options->closed != NULL);
    if (options->calls_max > WEIR_RPC_CALLS_MAX || options->conn.framing != WEIR_FRAMING_VALUES)
        return -EINVAL;
    memset(peer, 0, sizeof *peer);
    peer->user = user;
    peer->options = *options;
    if (peer->options.calls_max == 0)
        peer->options.calls_max = CALLS_DEFAULT;
    if (peer->options.tick_ms == 0)
        peer->options.tick_ms = TICK_MS;
    while ((1u << peer->index_bits) < peer->options.calls_max)
        peer->index_bits++;
    peer->free_first = NO_SLOT;
    peer->fault.reason = "";
    peer->tick_begin_ns = now_ns();
    weir_op_init(&peer->timer, on_timer, peer);
    return weir_conn_init(&peer->conn, ring, fd, &handlers, &options->conn, peer);
}

void weir_rpc_peer_finish(struct weir_rpc_peer *peer)
{
    peer->draining = true;
    finish_if_done(peer);
}

static int may_call(const struct weir_rpc_peer *peer)
{
    if (peer->closed || peer->ended)
        return -ENOTCONN;
    return peer->draining ? -ESHUTDOWN : 0;
}

int weir_rpc_call_begin(struct weir_rpc_peer *peer, struct weir_rpc_call *call,
                        struct weir_view method, uint32_t param_count, struct weir_packer *packer)
{
    assert(call->peer == NULL && call->done != NULL);
    int rc = may_call(peer);
    if (rc == 0 && peer->free_first == NO_SLOT)
        rc = grow_slots(peer);
    if (rc == 0)
        rc = weir_pack_begin(packer, weir_conn_out(&peer->conn), 0);
    if (rc != 0)
        return rc;
    uint32_t index = peer->free_first;
    struct weir_rpc_slot *slot = &peer->slots[index];
    peer->free_first = slot->next_free;
    slot->call = call;
    peer->call_count++;
    call->peer = peer;
    call->at = NULL;
    call->next = NULL;
    call->id = (uint32_t)((uint64_t)slot->generation << peer->index_bits) | index;
    weir_rpc_request(packer, call->id, method, param_count);
    return 0;
}

int weir_rpc_call_end(struct weir_rpc_call *call, struct weir_packer *packer, uint32_t timeout_ms)
{
    struct weir_rpc_peer *peer = call->peer;
    int rc = weir_pack_end(packer, NULL);
    if (rc != 0) {
        take_out(peer, call);
        finish_if_done(peer);
        return rc;
    }
    peer->stats.calls++;
    if (timeout_ms != 0)
        link_timer(peer, call, timeout_ms);
    weir_conn_flush(&peer->conn);
    return 0;
}

void weir_rpc_call_cancel(struct weir_rpc_call *call)
{
    struct weir_rpc_peer *peer = call->peer;
    if (peer == NULL)
        return;
    take_out(peer, call);
    finish_if_done(peer);
}

int weir_rpc_notify_begin(struct weir_rpc_peer *peer, struct weir_view method, uint32_t param_count,
                          struct weir_packer *packer)
{
    int rc = peer->closed ? -ENOTCONN : peer->draining ? -ESHUTDOWN : 0;
    if (rc == 0)
        rc = weir_pack_begin(packer, weir_conn_out(&peer->conn), 0);
    if (rc == 0)
        weir_rpc_notification(packer, method, param_count);
    return rc;
}

int weir_rpc_notify_end(struct weir_rpc_peer *peer, struct weir_packer *packer)
{
    int rc = weir_pack_end(packer, NULL);
    if (rc == 0)
        weir_conn_flush(&peer->conn);
    return rc;
}

/* --- answers ---------------------------------------------------------------------------------- */

void weir_rpc_answer_lost(struct weir_rpc_peer *peer, int error)
{
    weir_conn_abort(&peer->conn, error, "an answer could not be packed");
}

static void send_error(struct weir_rpc_peer *peer, uint32_t id, struct weir_view text)
{
    struct weir_packer p;
    peer->stats.errors++;
    weir_pack_begin(&p, weir_conn_out(&peer->conn), 0);
    weir_rpc_error(&p, id, text);
    int rc = weir_pack_end(&p, NULL);
    if (rc == 0)
        weir_conn_flush(&peer->conn);
    else
        weir_rpc_answer_lost(peer, rc);
}

static void answer_error(struct weir_rpc_request *request, struct weir_view text)
{
    if (request->is_notification) {
        request->peer->stats.errors++;
        return;
    }
    request->is_answered = true;
    send_error(request->peer, request->id, text);
}

void weir_rpc_answer_error(struct weir_rpc_request *request, const char *text)
{
    answer_error(request, weir_view_text(text));
}

/* Append @text to what @used bytes of @line hold; what does not fit is left out. */
static size_t append(char *line, size_t size, size_t used, const char *text)
{
    size_t length = strlen(text);
    if (length > size - used)
        length = size - used;
    memcpy(line + used, text, length);
    return used + length;
}

void weir_rpc_answer_wrong(struct weir_rpc_request *request, int error,
                           const struct weir_record_fault *fault)
{
    char line[256];
    size_t used = append(line, sizeof line, 0, fault != NULL ? "the parameter" : "one parameter");
    if (fault != NULL && fault->field != NULL) {
        used = append(line, sizeof line, used, ": ");
        used = append(line, sizeof line, used, fault->field->name);
    }
    used = append(line, sizeof line, used, fault != NULL ? ": " : " is expected");
    if (fault != NULL)
        used = append(line, sizeof line, used, weir_error_text(error));
    answer_error(request, weir_view_of((const uint8_t *)line, used));
}

void weir_rpc_answer_later(struct weir_rpc_request *request, struct weir_rpc_later *later)
{
    struct weir_rpc_peer *peer = request->peer;
    assert(!request->is_notification && !request->is_answered);
    request->is_answered = true;
    later->peer = peer;
    later->id = request->id;
    later->next = peer->laters;
    if (later->next != NULL)
        later->next->at = &later->next;
    later->at = &peer->laters;
    peer->laters = later;
    peer->later_count++;
}

/* The handle is done with. */
static struct weir_rpc_peer *take_later(struct weir_rpc_later *later)
{
    struct weir_rpc_peer *peer = later->peer;
    *later->at = later->next;
    if (later->next != NULL)
        later->next->at = later->at;
    later->peer = NULL;
    later->next = NULL;
    later->at = NULL;
    peer->later_count--;
    return peer;
}

int weir_rpc_later_begin(struct weir_rpc_later *later, struct weir_packer *packer)
{
    if (later->peer == NULL)
        return -ENOTCONN;
    weir_pack_begin(packer, weir_conn_out(&later->peer->conn), 0);
    weir_rpc_result(packer, later->id);
    return 0;
}

void weir_rpc_later_end(struct weir_rpc_later *later, struct weir_packer *packer)
{
    struct weir_rpc_peer *peer = take_later(later);
    int rc = weir_pack_end(packer, NULL);
    if (rc == 0)
        weir_conn_flush(&peer->conn);
    else
        weir_rpc_answer_lost(peer, rc);
    finish_if_done(peer);
}

void weir_rpc_later_error(struct weir_rpc_later *later, const char *text)
{
    if (later->peer == NULL)
        return;
    uint32_t id = later->id;
    struct weir_rpc_peer *peer = take_later(later);
    send_error(peer, id, weir_view_text(text));
    finish_if_done(peer);
}
