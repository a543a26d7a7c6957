/* SPDX-License-Identifier: MIT */
#include "io.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <weir/pack.h>
#include <weir/record.h>
#include <weir/rpc_peer.h>

#define WAIT_MS 30000

/* --- two peers, or one and a socket ----------------------------------------------------------- */

struct side {
    struct weir_rpc_peer *peer; /* on the heap, freed from closed(): a late access is found */
    unsigned closed;
    struct weir_fault why;
    struct weir_rpc_peer_stats stats;
    unsigned tells;
    struct weir_rpc_later later[8];
    unsigned later_count;
};

struct pair {
    struct io io;
    struct side client; /* or a plain socket: fd */
    struct side server;
    int fd;
};

static void on_closed(struct weir_rpc_peer *peer, const struct weir_fault *why)
{
    struct side *side = peer->user;
    assert_non_null(why->reason);
    side->closed++;
    side->why = *why;
    side->stats = weir_rpc_peer_stats(peer);
    free(peer);
    side->peer = NULL;
}

static void add(struct weir_rpc_request *request)
{
    int64_t a, b;
    struct weir_packer p;
    if (weir_unpack_i64(&request->params, &a) != 0 || weir_unpack_i64(&request->params, &b) != 0 ||
        weir_unpack_end(&request->params) != 0) {
        weir_rpc_answer_error(request, "add takes two integers");
        return;
    }
    weir_rpc_answer_begin(request, &p);
    weir_pack_int(&p, a + b);
    weir_rpc_answer_end(request, &p);
}

static void tell(struct weir_rpc_request *request)
{
    struct side *side = request->peer->user;
    side->tells++;
}

static void hold(struct weir_rpc_request *request)
{
    struct side *side = request->peer->user;
    assert_in_range(side->later_count, 0, 7);
    weir_rpc_answer_later(request, &side->later[side->later_count++]);
}

#define ORDER_FIELDS(F, R) \
    F(R, u64, id)          \
    F(R, u32, qty)
WEIR_RECORD(order, ORDER_FIELDS);
#define PLACED_FIELDS(F, R) \
    F(R, u64, id)           \
    F(R, bool, filled)
WEIR_RECORD(placed, PLACED_FIELDS);

static const char *place(struct weir_rpc_request *request, const struct order *order,
                         struct placed *ret)
{
    (void)request;
    if (order->qty == 0)
        return "an order of nothing";
    ret->id = order->id + 1;
    ret->filled = order->qty < 100;
    return NULL;
}
WEIR_RPC_METHOD(order_put, place, order, placed)

static const struct weir_rpc_method methods[] = {
    {"add", add}, {"tell", tell}, {"hold", hold}, {"place", order_put}};

static const struct weir_rpc_peer_options defaults = {
    .methods = methods, .method_count = 4, .closed = on_closed, .tick_ms = 1};

static void side_open(struct side *side, struct io *io, int fd,
                      const struct weir_rpc_peer_options *options)
{
    side->peer = malloc(sizeof *side->peer);
    assert_non_null(side->peer);
    memset(side->peer, 0xa5, sizeof *side->peer);
    assert_int_equal(
        weir_rpc_peer_init(side->peer, io->ring, fd, options != NULL ? options : &defaults, side),
        0);
}

static void pair_open(struct pair *pair, const struct weir_rpc_peer_options *client)
{
    int fds[2];
    memset(pair, 0, sizeof *pair);
    pair->fd = -1;
    io_open(&pair->io, NULL, NULL);
    io_pair(fds, false);
    side_open(&pair->client, &pair->io, fds[0], client);
    side_open(&pair->server, &pair->io, fds[1], NULL);
}

/* A server, and a socket at the other end. */
static void raw_open(struct pair *pair)
{
    int fds[2];
    memset(pair, 0, sizeof *pair);
    io_open(&pair->io, NULL, NULL);
    io_pair(fds, false);
    pair->fd = fds[0];
    side_open(&pair->server, &pair->io, fds[1], NULL);
}

static void pair_close(struct pair *pair)
{
    if (pair->client.peer != NULL)
        weir_rpc_peer_finish(pair->client.peer);
    if (pair->server.peer != NULL)
        weir_rpc_peer_finish(pair->server.peer);
    if (pair->fd >= 0)
        close(pair->fd);
    else
        io_until(&pair->io, &pair->client.closed, 1);
    io_until(&pair->io, &pair->server.closed, 1);
    assert_int_equal(pair->server.closed, 1);
    io_close(&pair->io);
}

/* Turns until the socket has so many bytes, which are read; at its end, fewer. */
static void raw_expect(struct pair *pair, const char *bytes, size_t size)
{
    char got[512];
    size_t count = 0;
    uint64_t end_ms = io_now_ms() + WAIT_MS;
    assert_in_range(size, 1, sizeof got);
    while (count < size) {
        ssize_t n = recv(pair->fd, got + count, size - count, MSG_DONTWAIT);
        if (n > 0)
            count += (size_t)n;
        else if (n == 0)
            break;
        else
            io_turn(&pair->io);
        assert_true(io_now_ms() < end_ms);
    }
    assert_int_equal(count, size);
    assert_memory_equal(got, bytes, size);
}

/* Turns until the other side has ended, with no byte more. */
static void raw_expect_end(struct pair *pair)
{
    uint64_t end_ms = io_now_ms() + WAIT_MS;
    char byte;
    ssize_t n;
    while ((n = recv(pair->fd, &byte, 1, MSG_DONTWAIT)) < 0 && errno == EAGAIN) {
        io_turn(&pair->io);
        assert_true(io_now_ms() < end_ms);
    }
    assert_int_equal(n, 0);
}

#define RAW_WRITE(pair, bytes) io_write_all((pair)->fd, bytes, sizeof(bytes) - 1)
#define RAW_EXPECT(pair, bytes) raw_expect(pair, bytes, sizeof(bytes) - 1)

/* --- calls that keep a record ----------------------------------------------------------------- */

struct note {
    struct weir_rpc_call call;
    unsigned completions;
    int error;
    int64_t result;
    char text[64]; /* of an error that was answered */
    struct note *again;
    struct side *finishes;
};

static int call_add(struct side *side, struct note *note, int64_t a, int64_t b,
                    uint32_t timeout_ms);

static void on_answer(struct weir_rpc_call *call, const struct weir_rpc_answer *answer)
{
    struct note *note = call->user;
    struct weir_unpacker u;
    struct weir_view text;
    assert_false(weir_rpc_call_is_active(call));
    note->completions++;
    note->error = answer->error;
    assert_int_equal(answer->reason[0] != 0, answer->error != 0);
    if (answer->error == 0) {
        assert_int_equal(answer->error_value.size, 0);
        weir_unpack_init(&u, answer->result, NULL);
        assert_int_equal(weir_unpack_i64(&u, &note->result), 0);
        assert_int_equal(weir_unpack_end(&u), 0);
    } else if (answer->error == -EREMOTEIO) {
        weir_unpack_init(&u, answer->error_value, NULL);
        assert_int_equal(weir_unpack_str(&u, &text), 0);
        assert_in_range(text.size, 0, sizeof note->text - 1);
        memcpy(note->text, text.data, text.size);
    } else {
        assert_null(answer->message);
    }
    if (note->again != NULL) {
        struct weir_rpc_peer *peer = note->finishes->peer;
        struct note *again = note->again;
        note->again = NULL;
        assert_non_null(peer);
        (void)call_add(note->finishes, again, 20, 22, 0);
    }
}

static void note_init(struct note *note)
{
    memset(note, 0, sizeof *note);
    note->call.done = on_answer;
    note->call.user = note;
}

static int call_begin(struct side *side, struct note *note, const char *method, uint32_t count,
                      struct weir_packer *p)
{
    return weir_rpc_call_begin(side->peer, &note->call, weir_view_text(method), count, p);
}

static int call_add(struct side *side, struct note *note, int64_t a, int64_t b, uint32_t timeout_ms)
{
    struct weir_packer p;
    int rc = call_begin(side, note, "add", 2, &p);
    if (rc != 0)
        return rc;
    weir_pack_int(&p, a);
    weir_pack_int(&p, b);
    return weir_rpc_call_end(&note->call, &p, timeout_ms);
}

static int call_nothing(struct side *side, struct note *note, const char *method,
                        uint32_t timeout_ms)
{
    struct weir_packer p;
    int rc = call_begin(side, note, method, 0, &p);
    return rc != 0 ? rc : weir_rpc_call_end(&note->call, &p, timeout_ms);
}

static void answer_later(struct side *side, unsigned index, int64_t value)
{
    struct weir_packer p;
    assert_int_equal(weir_rpc_later_begin(&side->later[index], &p), 0);
    weir_pack_int(&p, value);
    weir_rpc_later_end(&side->later[index], &p);
    assert_null(side->later[index].peer);
}

/* --- calls ------------------------------------------------------------------------------------ */

static void calls_are_pipelined_and_each_gets_its_answer(void **state)
{
    enum { COUNT = 1000 };
    static struct note notes[COUNT];
    struct pair pair;
    (void)state;
    pair_open(&pair, NULL);
    for (int i = 0; i < COUNT; i++) {
        note_init(&notes[i]);
        assert_int_equal(call_add(&pair.client, &notes[i], i, -2 * i, i % 2 == 0 ? 0 : WAIT_MS), 0);
        assert_true(weir_rpc_call_is_active(&notes[i].call));
        assert_int_equal(notes[i].completions, 0);
    }
    io_until(&pair.io, &notes[COUNT - 1].completions, 1);
    for (int i = 0; i < COUNT; i++) {
        assert_int_equal(notes[i].completions, 1);
        assert_int_equal(notes[i].error, 0);
        assert_int_equal(notes[i].result, -i);
    }
    struct weir_rpc_peer_stats stats = weir_rpc_peer_stats(pair.client.peer);
    assert_int_equal(stats.calls, COUNT);
    assert_int_equal(stats.answers, COUNT);
    assert_int_equal(stats.strays, 0);
    assert_int_equal(weir_rpc_peer_stats(pair.server.peer).requests, COUNT);
    pair_close(&pair);
    assert_int_equal(pair.client.why.error, 0);
    assert_int_equal(pair.server.why.error, 0);
}

static void answers_may_come_later_and_in_any_order(void **state)
{
    struct note notes[4];
    struct pair pair;
    (void)state;
    pair_open(&pair, NULL);
    for (int i = 0; i < 4; i++) {
        note_init(&notes[i]);
        assert_int_equal(call_nothing(&pair.client, &notes[i], "hold", 0), 0);
    }
    io_until(&pair.io, &pair.server.later_count, 4);
    answer_later(&pair.server, 3, 33);
    answer_later(&pair.server, 1, 31);
    weir_rpc_later_error(&pair.server.later[0], "not now");
    io_until(&pair.io, &notes[0].completions, 1);
    assert_int_equal(notes[0].error, -EREMOTEIO);
    assert_string_equal(notes[0].text, "not now");
    assert_int_equal(notes[1].result, 31);
    assert_int_equal(notes[2].completions, 0);
    assert_int_equal(notes[3].result, 33);
    answer_later(&pair.server, 2, 32);
    io_until(&pair.io, &notes[2].completions, 1);
    assert_int_equal(notes[2].result, 32);
    pair_close(&pair);
}

static void both_sides_call_each_other(void **state)
{
    struct note there, back;
    struct weir_packer p;
    struct pair pair;
    (void)state;
    pair_open(&pair, NULL);
    note_init(&there);
    note_init(&back);
    assert_int_equal(call_add(&pair.client, &there, 1, 2, 0), 0);
    assert_int_equal(call_add(&pair.server, &back, INT64_MIN, 1, 0), 0);
    assert_int_equal(weir_rpc_notify_begin(pair.server.peer, weir_view_text("tell"), 1, &p), 0);
    weir_pack_nil(&p);
    assert_int_equal(weir_rpc_notify_end(pair.server.peer, &p), 0);
    io_until(&pair.io, &there.completions, 1);
    io_until(&pair.io, &back.completions, 1);
    io_until(&pair.io, &pair.client.tells, 1);
    assert_int_equal(there.result, 3);
    assert_int_equal(back.result, INT64_MIN + 1);
    assert_int_equal(weir_rpc_peer_stats(pair.client.peer).notifications, 1);
    pair_close(&pair);
}

static void a_completed_call_may_be_begun_again_at_once(void **state)
{
    struct note first, second;
    struct pair pair;
    (void)state;
    pair_open(&pair, NULL);
    note_init(&first);
    note_init(&second);
    first.again = &second;
    first.finishes = &pair.client;
    assert_int_equal(call_add(&pair.client, &first, 1, 2, 0), 0);
    io_until(&pair.io, &second.completions, 1);
    assert_int_equal(first.result, 3);
    assert_int_equal(second.result, 42);
    first.again = &first; /* itself */
    assert_int_equal(call_add(&pair.client, &first, 1, 2, 0), 0);
    io_until(&pair.io, &first.completions, 3);
    assert_int_equal(first.result, 42);
    pair_close(&pair);
}

static void what_is_written_is_the_specification(void **state)
{
    struct note note;
    struct weir_packer p;
    struct pair pair;
    (void)state;
    raw_open(&pair);
    note_init(&note);
    assert_int_equal(call_add(&pair.server, &note, 1, 2, 0), 0);
    RAW_EXPECT(&pair,
               "\x94\x00\x00\xa3"
               "add\x92\x01\x02");
    RAW_WRITE(&pair, "\x94\x01\x00\xc0\x03");
    io_until(&pair.io, &note.completions, 1);
    assert_int_equal(note.result, 3);
    assert_int_equal(weir_rpc_notify_begin(pair.server.peer, weir_view_text("tell"), 1, &p), 0);
    weir_pack_int(&p, 5);
    assert_int_equal(weir_rpc_notify_end(pair.server.peer, &p), 0);
    RAW_EXPECT(&pair, "\x93\x02\xa4tell\x91\x05");
    RAW_WRITE(&pair,
              "\x94\x00\x07\xa3"
              "add\x92\x01\x02");
    RAW_EXPECT(&pair, "\x94\x01\x07\xc0\x03");
    RAW_WRITE(&pair, "\x94\x00\x08\xa4tell\x90");
    RAW_EXPECT(&pair, "\x94\x01\x08\xc0\xc0");
    RAW_WRITE(&pair,
              "\x93\x02\xa4tell\x90\x93\x02\xa3"
              "add\x92\x01\x02\x94\x00\x09\xa4tell\x90");
    RAW_EXPECT(&pair, "\x94\x01\x09\xc0\xc0");
    assert_int_equal(pair.server.tells, 3);
    pair_close(&pair);
}

/* --- errors ----------------------------------------------------------------------------------- */

static void what_is_wrong_with_a_request_is_answered(void **state)
{
    struct pair pair;
    (void)state;
    raw_open(&pair);
    RAW_WRITE(&pair,
              "\x94\x00\x01\xa3"
              "sub\x90");
    RAW_EXPECT(&pair,
               "\x94\x01\x01\xae"
               "no such method\xc0");
    RAW_WRITE(&pair,
              "\x94\x00\x02\xa3"
              "add\x91\x01");
    RAW_EXPECT(&pair,
               "\x94\x01\x02\xb6"
               "add takes two integers\xc0");
    RAW_WRITE(&pair, "\x94\x00\xcd\x01\x00\x05\x90");
    RAW_EXPECT(&pair,
               "\x94\x01\xcd\x01\x00\xba"
               "the method is not a string\xc0");
    RAW_WRITE(&pair,
              "\x94\x00\x03\xa3"
              "add\x80");
    RAW_EXPECT(&pair,
               "\x94\x01\x03\xbf"
               "the parameters are not an array\xc0");
    /* The same of notifications is counted. */
    RAW_WRITE(&pair,
              "\x93\x02\xa3"
              "sub\x90\x93\x02\x05\x90\x94\x00\x04\xa4tell\x90");
    RAW_EXPECT(&pair, "\x94\x01\x04\xc0\xc0");
    assert_int_equal(weir_rpc_peer_stats(pair.server.peer).errors, 6);
    assert_int_equal(weir_rpc_peer_stats(pair.server.peer).notifications, 2);
    pair_close(&pair);
}

static void methods_take_and_return_records(void **state)
{
    struct pair pair;
    (void)state;
    raw_open(&pair);
    RAW_WRITE(&pair, "\x94\x00\x01\xa5place\x91\x82\xa2id\x07\xa3qty\x09");
    RAW_EXPECT(&pair,
               "\x94\x01\x01\xc0\x82\xa2id\x08\xa6"
               "filled\xc3");
    RAW_WRITE(&pair, "\x94\x00\x02\xa5place\x91\x82\xa2id\x07\xa3qty\x00");
    RAW_EXPECT(&pair,
               "\x94\x01\x02\xb3"
               "an order of nothing\xc0");
    RAW_WRITE(&pair, "\x94\x00\x03\xa5place\x92\x01\x02");
    RAW_EXPECT(&pair,
               "\x94\x01\x03\xb9"
               "one parameter is expected\xc0");
    RAW_WRITE(&pair, "\x94\x00\x04\xa5place\x91\x82\xa2id\x07\xa3qty\xff");
    char wanted[256] = "\x94\x01\x04";
    const char *text = weir_error_text(-EOVERFLOW);
    size_t length = strlen("the parameter: qty: ") + strlen(text);
    wanted[3] = (char)(length < 32 ? 0xa0 + length : 0xd9);
    size_t used = 4;
    if (length >= 32)
        wanted[used++] = (char)length;
    used += (size_t)snprintf(wanted + used, sizeof wanted - used, "the parameter: qty: %s", text);
    wanted[used++] = (char)0xc0;
    raw_expect(&pair, wanted, used);
    pair_close(&pair);
}

/* What comes before is answered; then the connection ends, and says where. */
static void what_is_no_envelope_ends_the_connection(void **state)
{
    static const struct {
        const char *bytes;
        size_t size;
        int error;
        size_t offset;
        const char *reason;
    } cases[] = {
        {"\x01", 1, -EPROTO, 0, "not a MessagePack-RPC envelope"},
        {"\x90", 1, -EPROTO, 0, "an RPC envelope with another number of elements"},
        {"\x94\x03\x01\xc0\xc0", 5, -EPROTO, 1, "an RPC kind other than 0, 1 or 2"},
        {"\x93\x00\x01\xa1x", 5, -EPROTO, 0, "an RPC envelope with another number of elements"},
        {"\x94\x00\xff\xa1x\x90", 6, -EOVERFLOW, 2, "an RPC kind or id is out of range"},
        {"\x94\x01\xa1x\xc0\xc0", 6, -EPROTO, 2, "not a MessagePack-RPC envelope"},
        {"\xc1", 1, -EBADMSG, 0, NULL},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct note note;
        struct pair pair;
        raw_open(&pair);
        note_init(&note);
        RAW_WRITE(&pair,
                  "\x94\x00\x07\xa3"
                  "add\x92\x01\x02");
        RAW_EXPECT(&pair, "\x94\x01\x07\xc0\x03");
        assert_int_equal(call_nothing(&pair.server, &note, "x", WAIT_MS), 0);
        RAW_EXPECT(&pair, "\x94\x00\x00\xa1x\x90");
        io_write_all(pair.fd, cases[i].bytes, cases[i].size);
        raw_expect_end(&pair);
        io_until(&pair.io, &note.completions, 1);
        close(pair.fd);
        pair.fd = -1;
        io_until(&pair.io, &pair.server.closed, 1);
        assert_int_equal(note.completions, 1);
        assert_int_equal(note.error, cases[i].reason != NULL ? cases[i].error : -ECONNRESET);
        assert_int_equal(pair.server.why.error, cases[i].error);
        assert_int_equal(pair.server.why.offset, 10 + cases[i].offset);
        if (cases[i].reason != NULL)
            assert_string_equal(pair.server.why.reason, cases[i].reason);
        io_close(&pair.io);
    }
}

static void a_request_that_is_cut_anywhere_is_told(void **state)
{
    static const char request[] = "\x94\x00\x07\xa3"
                                  "add\x92\x01\x02";
    (void)state;
    for (size_t size = 1; size < sizeof request - 1; size++) {
        struct pair pair;
        raw_open(&pair);
        io_write_all(pair.fd, request, size);
        assert_int_equal(shutdown(pair.fd, SHUT_WR), 0);
        raw_expect_end(&pair);
        io_until(&pair.io, &pair.server.closed, 1);
        assert_int_equal(pair.server.why.error, -EAGAIN);
        assert_int_equal(pair.server.why.offset, 0);
        close(pair.fd);
        io_close(&pair.io);
    }
}

/* --- time, cancelling, the end ---------------------------------------------------------------- */

static void a_call_that_is_not_answered_in_time_is_over(void **state)
{
    struct note notes[3];
    struct pair pair;
    (void)state;
    raw_open(&pair);
    for (int i = 0; i < 3; i++)
        note_init(&notes[i]);
    uint64_t begin_ms = io_now_ms();
    assert_int_equal(call_nothing(&pair.server, &notes[0], "x", 20), 0);
    assert_int_equal(call_nothing(&pair.server, &notes[1], "x", 90), 0); /* a round of the wheel */
    assert_int_equal(call_nothing(&pair.server, &notes[2], "x", 0), 0);
    RAW_EXPECT(&pair, "\x94\x00\x00\xa1x\x90\x94\x00\x01\xa1x\x90\x94\x00\x02\xa1x\x90");
    io_until(&pair.io, &notes[0].completions, 1);
    assert_true(io_now_ms() - begin_ms >= 20);
    assert_int_equal(notes[0].error, -ETIMEDOUT);
    io_until(&pair.io, &notes[1].completions, 1);
    assert_true(io_now_ms() - begin_ms >= 90);
    assert_int_equal(notes[1].error, -ETIMEDOUT);
    assert_int_equal(notes[2].completions, 0);
    /* What comes too late is nobody's. */
    RAW_WRITE(&pair,
              "\x94\x01\x00\xc0\x01\x94\x01\x01\xc0\x01\x94\x01\xce\xff\xff\xff\xff\xc0\x01");
    RAW_WRITE(&pair, "\x94\x01\x02\xc0\x2a");
    io_until(&pair.io, &notes[2].completions, 1);
    assert_int_equal(notes[2].result, 42);
    assert_int_equal(notes[0].completions + notes[1].completions, 2);
    struct weir_rpc_peer_stats stats = weir_rpc_peer_stats(pair.server.peer);
    assert_int_equal(stats.timeouts, 2);
    assert_int_equal(stats.strays, 3);
    assert_int_equal(stats.answers, 1);
    pair_close(&pair);
}

/* All places of the table are used again and again: no id is another call's for long. */
static void an_answer_to_an_earlier_call_is_not_taken_for_a_later_ones(void **state)
{
    struct weir_rpc_peer_options options = defaults;
    struct note note;
    struct pair pair;
    char request[7];
    int fds[2];
    (void)state;
    options.calls_max = 1;
    memset(&pair, 0, sizeof pair);
    io_open(&pair.io, NULL, NULL);
    io_pair(fds, false);
    pair.fd = fds[0];
    side_open(&pair.server, &pair.io, fds[1], &options);
    note_init(&note);
    for (uint8_t id = 0; id < 100; id++) {
        assert_int_equal(call_nothing(&pair.server, &note, "x", 0), 0);
        memcpy(request, "\x94\x00\x00\xa1x\x90", 7);
        request[2] = (char)id;
        raw_expect(&pair, request, 6);
        weir_rpc_call_cancel(&note.call);
        assert_false(weir_rpc_call_is_active(&note.call));
        weir_rpc_call_cancel(&note.call);
    }
    assert_int_equal(call_nothing(&pair.server, &note, "x", 0), 0);
    RAW_WRITE(&pair, "\x94\x01\x63\xc0\x01\x94\x01\x64\xc0\x07");
    io_until(&pair.io, &note.completions, 1);
    assert_int_equal(note.result, 7);
    assert_int_equal(weir_rpc_peer_stats(pair.server.peer).strays, 1);
    pair_close(&pair);
}

static void calls_under_way_end_with_the_connection_each_once(void **state)
{
    enum { COUNT = 50 };
    static struct note notes[COUNT];
    (void)state;
    for (unsigned how = 0; how < 3; how++) {
        struct pair pair;
        raw_open(&pair);
        for (int i = 0; i < COUNT; i++) {
            note_init(&notes[i]);
            assert_int_equal(call_nothing(&pair.server, &notes[i], "x", i % 3 == 0 ? WAIT_MS : 0),
                             0);
        }
        io_turn(&pair.io);
        if (how == 0)
            close(pair.fd);
        else if (how == 1)
            shutdown(pair.fd, SHUT_WR);
        else
            weir_conn_abort(&pair.server.peer->conn, -EPERM, "enough");
        for (int i = 0; i < COUNT; i++)
            io_until(&pair.io, &notes[i].completions, 1);
        if (how != 0)
            close(pair.fd);
        io_until(&pair.io, &pair.server.closed, 1);
        for (int i = 0; i < COUNT; i++) {
            assert_int_equal(notes[i].completions, 1);
            if (how == 1)
                assert_int_equal(notes[i].error, -ECONNRESET);
            else if (how == 2)
                assert_int_equal(notes[i].error, -EPERM);
            else
                assert_true(notes[i].error < 0);
            assert_false(weir_rpc_call_is_active(&notes[i].call));
        }
        if (how == 2) {
            assert_int_equal(pair.server.why.error, -EPERM);
            assert_string_equal(pair.server.why.reason, "enough");
        }
        io_close(&pair.io);
    }
}

static void finishing_waits_for_all_answers_and_takes_no_more(void **state)
{
    struct note held, refused, ours;
    struct weir_packer p;
    struct pair pair;
    (void)state;
    pair_open(&pair, NULL);
    note_init(&held);
    note_init(&refused);
    note_init(&ours);
    assert_int_equal(call_nothing(&pair.client, &held, "hold", 0), 0);
    assert_int_equal(call_nothing(&pair.server, &ours, "hold", 0), 0);
    io_until(&pair.io, &pair.server.later_count, 1);
    io_until(&pair.io, &pair.client.later_count, 1);
    weir_rpc_peer_finish(pair.server.peer);
    assert_int_equal(call_add(&pair.server, &refused, 1, 2, 0), -ESHUTDOWN);
    assert_int_equal(weir_rpc_notify_begin(pair.server.peer, weir_view_text("tell"), 0, &p),
                     -ESHUTDOWN);
    assert_int_equal(call_add(&pair.client, &refused, 1, 2, 0), 0);
    io_until(&pair.io, &refused.completions, 1);
    assert_string_equal(refused.text, "shutting down");
    answer_later(&pair.server, 0, 1);
    io_until(&pair.io, &held.completions, 1);
    assert_int_equal(pair.client.closed, 0);
    answer_later(&pair.client, 0, 2);
    io_until(&pair.io, &ours.completions, 1);
    assert_int_equal(ours.result, 2);
    io_until(&pair.io, &pair.server.closed, 1);
    io_until(&pair.io, &pair.client.closed, 1);
    assert_int_equal(pair.server.why.error, 0);
    assert_int_equal(pair.client.why.error, 0);
    io_close(&pair.io);
}

static void a_handle_outlives_its_connection(void **state)
{
    struct weir_packer p;
    struct pair pair;
    (void)state;
    raw_open(&pair);
    RAW_WRITE(&pair, "\x94\x00\x01\xa4hold\x90\x94\x00\x02\xa4hold\x90");
    io_until(&pair.io, &pair.server.later_count, 2);
    weir_conn_abort(&pair.server.peer->conn, 0, NULL);
    close(pair.fd);
    io_until(&pair.io, &pair.server.closed, 1);
    assert_int_equal(pair.server.why.error, -ECANCELED);
    assert_int_equal(weir_rpc_later_begin(&pair.server.later[0], &p), -ENOTCONN);
    weir_rpc_later_error(&pair.server.later[1], "too late");
    io_close(&pair.io);
}

/* --- bounds ----------------------------------------------------------------------------------- */

static void calls_are_bounded(void **state)
{
    struct weir_rpc_peer_options options = defaults;
    static struct note notes[41];
    struct weir_packer p;
    struct pair pair;
    int fds[2];
    (void)state;
    options.calls_max = 40;
    pair_open(&pair, &options);
    for (unsigned i = 0; i < 41; i++)
        note_init(&notes[i]);
    for (unsigned i = 0; i < 40; i++)
        assert_int_equal(call_add(&pair.client, &notes[i], 1, i, 0), 0);
    assert_int_equal(call_begin(&pair.client, &notes[40], "add", 0, &p), -EAGAIN);
    assert_false(weir_rpc_call_is_active(&notes[40].call));
    io_until(&pair.io, &notes[39].completions, 1);
    assert_int_equal(call_add(&pair.client, &notes[40], 1, 40, 0), 0);
    io_until(&pair.io, &notes[40].completions, 1);
    assert_int_equal(notes[40].result, 41);
    /* A call that is given up while it is packed was none. */
    assert_int_equal(call_begin(&pair.client, &notes[0], "add", 2, &p), 0);
    weir_pack_int(&p, 1);
    assert_int_equal(weir_rpc_call_end(&notes[0].call, &p, 0), -EBADMSG);
    assert_false(weir_rpc_call_is_active(&notes[0].call));
    assert_int_equal(weir_rpc_peer_stats(pair.client.peer).calls, 41);
    pair_close(&pair);

    struct weir_rpc_peer peer;
    struct io io;
    io_open(&io, NULL, NULL);
    io_pair(fds, false);
    options.calls_max = WEIR_RPC_CALLS_MAX + 1;
    assert_int_equal(weir_rpc_peer_init(&peer, io.ring, fds[0], &options, NULL), -EINVAL);
    options.calls_max = WEIR_RPC_CALLS_MAX;
    options.conn.framing = WEIR_FRAMING_LENGTH32;
    assert_int_equal(weir_rpc_peer_init(&peer, io.ring, fds[0], &options, NULL), -EINVAL);
    close(fds[0]);
    close(fds[1]);
    io_close(&io);
}

/* Two peers in a pool over @source. */
static void pair_open_on(struct pair *pair, struct test_source *source)
{
    const struct weir_pool_options options = {.source = &source->source};
    int fds[2];
    memset(pair, 0, sizeof *pair);
    pair->fd = -1;
    test_source_init(source);
    io_open(&pair->io, &options, NULL);
    io_pair(fds, false);
    side_open(&pair->client, &pair->io, fds[0], NULL);
    side_open(&pair->server, &pair->io, fds[1], NULL);
}

static void after_warming_up_no_memory_is_asked_for(void **state)
{
    struct note notes[64];
    struct test_source source;
    struct pair pair;
    uint64_t calls = 0;
    (void)state;
    pair_open_on(&pair, &source);
    for (unsigned round = 0; round < 300; round++) {
        if (round == 100)
            calls = source.calls;
        for (unsigned i = 0; i < 64; i++) {
            note_init(&notes[i]);
            assert_int_equal(call_add(&pair.client, &notes[i], i, round, WAIT_MS), 0);
        }
        io_until(&pair.io, &notes[63].completions, 1);
    }
    assert_int_equal(source.calls, calls);
    pair_close(&pair);
    test_source_fini(&source);
}

/* The n-th time that memory is asked for there is none: calls fail or are completed, once. */
static void want_of_memory_loses_no_call(void **state)
{
    enum { COUNT = 40 };
    static struct note notes[COUNT];
    bool failed = true;
    (void)state;
    for (unsigned n = 1; failed; n++) {
        struct test_source source;
        struct pair pair;
        pair_open_on(&pair, &source);
        test_source_fail_from(&source, n);
        unsigned begun = 0;
        for (unsigned i = 0; i < COUNT; i++) {
            struct weir_packer p;
            note_init(&notes[i]);
            int rc = call_begin(&pair.client, &notes[i], "tell", 1, &p);
            if (rc == 0) {
                /* Not to be held by what the ring was made with. */
                static const uint8_t large[100000];
                weir_pack_bin(&p, weir_view_of(large, sizeof large));
                rc = weir_rpc_call_end(&notes[i].call, &p, 0);
            }
            assert_true(rc == 0 || rc == -ENOMEM);
            notes[i].error = rc == 0 ? 1 : rc;
            begun += rc == 0;
        }
        test_source_fail(&source, 0);
        failed = source.failures != 0;
        for (unsigned i = 0; i < COUNT; i++)
            if (notes[i].error == 1)
                weir_rpc_call_cancel(&notes[i].call);
        assert_int_equal(weir_rpc_peer_stats(pair.client.peer).calls, begun);
        note_init(&notes[0]);
        assert_int_equal(call_add(&pair.client, &notes[0], 20, 22, 0), 0);
        io_until(&pair.io, &notes[0].completions, 1);
        assert_int_equal(notes[0].result, 42);
        assert_int_equal(pair.server.tells, begun);
        pair_close(&pair);
        test_source_fini(&source);
        assert_true(n < 1000);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        IO_TEST(calls_are_pipelined_and_each_gets_its_answer),
        IO_TEST(answers_may_come_later_and_in_any_order),
        IO_TEST(both_sides_call_each_other),
        IO_TEST(a_completed_call_may_be_begun_again_at_once),
        IO_TEST(what_is_written_is_the_specification),
        IO_TEST(what_is_wrong_with_a_request_is_answered),
        IO_TEST(methods_take_and_return_records),
        IO_TEST(what_is_no_envelope_ends_the_connection),
        IO_TEST(a_request_that_is_cut_anywhere_is_told),
        IO_TEST(a_call_that_is_not_answered_in_time_is_over),
        IO_TEST(an_answer_to_an_earlier_call_is_not_taken_for_a_later_ones),
        IO_TEST(calls_under_way_end_with_the_connection_each_once),
        IO_TEST(finishing_waits_for_all_answers_and_takes_no_more),
        IO_TEST(a_handle_outlives_its_connection),
        IO_TEST(calls_are_bounded),
        IO_TEST(after_warming_up_no_memory_is_asked_for),
        IO_TEST(want_of_memory_loses_no_call),
    };

    return io_run(tests, sizeof tests / sizeof tests[0]);
}
