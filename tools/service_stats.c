/* SPDX-License-Identifier: MIT */
/* The counters of the service by name. */
#include "service.h"

#include <string.h>

#include <weir/pool_pack.h>

struct row {
    const char *section;
    const char *name;
    size_t offset; /* of an uint64_t in struct service_stats */
};

#define ROW(section, name, field)                            \
    {                                                        \
        section, name, offsetof(struct service_stats, field) \
    }

/* All but the pool's, which the library has names for. Rows of one section stand together. */
static const struct row rows[] = {
    ROW("buffers", "bytes_copied", bytes_copied),
    ROW("buffers", "bytes_copied_by_connections", connections.bytes_copied),
    ROW("buffers", "bytes_copied_by_log", log.bytes_copied),
    ROW("buffers", "messages_gathered", connections.gathered),
    ROW("ring", "enters", ring.enters),
    ROW("ring", "requests", ring.requests),
    ROW("ring", "completions", ring.completions),
    ROW("ring", "receives", ring.receives),
    ROW("ring", "received_bytes", ring.received_bytes),
    ROW("ring", "receive_starved", ring.receive_starved),
    ROW("ring", "sent_bytes", ring.sent_bytes),
    ROW("ring", "spins", ring.spins),
    ROW("ring", "spins_found", ring.spins_found),
    ROW("ring", "fixed", ring.fixed),
    ROW("ring", "registered_bytes", ring.registered_bytes),
    ROW("ring", "messages", ring.messages),
    ROW("ring", "wakes", ring.wakes),
    ROW("ring", "blocks_lent", ring.blocks_lent),
    ROW("ring", "active", ring.active),
    ROW("log", "records", log_more.records),
    ROW("log", "found", log_more.found),
    ROW("log", "segment", log.segment),
    ROW("log", "bytes", log.segment_bytes),
    ROW("log", "blocks", log.blocks),
    ROW("log", "writes", log.writes),
    ROW("log", "direct", log.direct),
    ROW("log", "syncs", log.syncs),
    ROW("log", "extents", log.extents),
    ROW("log", "rotations", log.rotations),
    ROW("log", "waiting_bytes", log.waiting_bytes),
    ROW("log", "postponed", log_more.postponed),
    ROW("log", "failures", log.failures),
    ROW("log", "failed", log_more.failed),
    ROW("connections", "open", connections.open),
    ROW("connections", "accepted", connections.accepted),
    ROW("connections", "malformed", connections.malformed),
    ROW("connections", "accept_errors", connections.accept_errors),
    ROW("connections", "turned_away", connections.turned_away),
    ROW("connections", "stalled", connections.stalled),
    ROW("connections", "messages", connections.messages),
    ROW("connections", "requests", connections.requests),
    ROW("connections", "notifications", connections.notifications),
    ROW("connections", "errors", connections.errors),
    ROW("connections", "pauses", connections.pauses),
    ROW("connections", "received_bytes", connections.received_bytes),
    ROW("connections", "sent_bytes", connections.sent_bytes),
    ROW("connections", "sends", connections.sends),
};

#define ROW_COUNT (sizeof rows / sizeof rows[0])

/* Where the section that begins at @first ends. */
static size_t section_end(size_t first)
{
    size_t end = first;
    while (end < ROW_COUNT && strcmp(rows[end].section, rows[first].section) == 0)
        end++;
    return end;
}

void service_stats_pack(const struct service_stats *stats, struct weir_packer *packer)
{
    size_t sections = 1;
    for (size_t i = 0; i < ROW_COUNT; i = section_end(i))
        sections++;
    weir_pack_map(packer, sections);
    weir_pack_text(packer, "pool");
    weir_pool_pack_stats(packer, &stats->pool);
    for (size_t first = 0; first < ROW_COUNT; first = section_end(first)) {
        size_t end = section_end(first);
        weir_pack_text(packer, rows[first].section);
        weir_pack_map(packer, end - first);
        for (size_t i = first; i < end; i++) {
            uint64_t value;
            memcpy(&value, (const char *)stats + rows[i].offset, sizeof value);
            weir_pack_text(packer, rows[i].name);
            weir_pack_uint(packer, value);
        }
    }
}
