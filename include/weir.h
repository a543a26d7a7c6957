/* SPDX-License-Identifier: MIT */
/**
 * weir: MessagePack records through io_uring, from pooled memory, without copies.
 *
 * Everything at once; each header below can be included alone. They stand in the order of their
 * layers: each builds on those above it.
 */
#ifndef WEIR_H
#define WEIR_H

#include <weir/base.h>
#include <weir/view.h>
#include <weir/growth.h>
#include <weir/pool.h>
#include <weir/slice.h>
#include <weir/chain.h>
#include <weir/arena.h>
#include <weir/shared_arena.h>
#include <weir/batch.h>
#include <weir/text.h>
#include <weir/buf.h>
#include <weir/wire.h>
#include <weir/pack.h>
#include <weir/unpack.h>
#include <weir/pool_pack.h>
#include <weir/msgpack.h>
#include <weir/canonical.h>
#include <weir/record.h>
#include <weir/record_array.h>
#include <weir/record_batch.h>
#include <weir/record_enum.h>
#include <weir/record_schema.h>
#include <weir/record_fixed.h>
#include <weir/object.h>
#include <weir/edit.h>
#include <weir/bulk.h>
#include <weir/check.h>
#include <weir/walk.h>
#include <weir/stream.h>
#include <weir/ring.h>
#include <weir/file.h>
#include <weir/sock.h>
#include <weir/conn.h>
#include <weir/rpc.h>
#include <weir/rpc_peer.h>
#include <weir/log.h>

#endif /* WEIR_H */
