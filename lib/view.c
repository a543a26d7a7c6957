/* SPDX-License-Identifier: MIT */
#include <string.h>

#include <weir/view.h>

/* Odd constants with about as many ones as zeros; where they come from does not matter. */
#define MIX_A UINT64_C(0x9e3779b97f4a7c15)
#define MIX_B UINT64_C(0xd6e8feb86659fd93)
#define MIX_C UINT64_C(0xa0761d6478bd642f)

static inline uint64_t load64(const uint8_t *from)
{
    uint64_t value;
    memcpy(&value, from, sizeof value);
    return value;
}

static inline uint64_t load32(const uint8_t *from)
{
    uint32_t value;
    memcpy(&value, from, sizeof value);
    return value;
}

/* Both halves of the full product: every bit of either factor reaches the middle of the result. */
static inline uint64_t mix(uint64_t a, uint64_t b)
{
    __extension__ unsigned __int128 product = (unsigned __int128)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

/* The last 0 to 16 bytes as two words; loads overlap rather than branch on each byte. */
static inline void load_tail(const uint8_t *data, size_t size, uint64_t *low, uint64_t *high)
{
    if (size >= 8) {
        *low = load64(data);
        *high = load64(data + size - 8);
    } else if (size >= 4) {
        *low = load32(data);
        *high = load32(data + size - 4);
    } else if (size != 0) {
        *low = (uint64_t)data[0] << 16 | (uint64_t)data[size / 2] << 8 | data[size - 1];
        *high = 0;
    } else {
        *low = 0;
        *high = 0;
    }
}

/* What a state begins with. A factor of zero would wipe out what came before. Both factors of every
 * step are masked with words that depend on the seed, so only who knows it can bring one about. */
static inline uint64_t secret_of(uint64_t seed)
{
    return mix(seed ^ MIX_A, MIX_B);
}

static inline uint64_t first_state(uint64_t secret)
{
    return mix(secret ^ MIX_C, MIX_A);
}

/* One step: 16 bytes. */
static inline uint64_t step(uint64_t state, uint64_t secret, const uint8_t *data)
{
    return mix(load64(data) ^ secret, load64(data + 8) ^ state);
}

/* The last step: what is left, 0 to 16 bytes, and the size of all. */
static inline uint64_t finish(uint64_t state, uint64_t secret, const uint8_t *data, size_t left,
                              size_t size_bytes)
{
    uint64_t low, high;

    load_tail(data, left, &low, &high);
    state = mix(low ^ secret, high ^ state);
    /* The size tells bytes of zero apart that the words cannot. */
    return mix(state ^ size_bytes, secret ^ MIX_C);
}

uint64_t weir_view_hash(struct weir_view view, uint64_t seed)
{
    const uint8_t *data = view.data;
    size_t left = view.size;
    const uint64_t secret = secret_of(seed);
    uint64_t state = first_state(secret);

    while (left > 16) {
        state = step(state, secret, data);
        data += 16;
        left -= 16;
    }
    return finish(state, secret, data, left, view.size);
}

void weir_view_hash_begin(struct weir_view_hasher *hash, uint64_t seed)
{
    memset(hash, 0, sizeof *hash);
    hash->secret = secret_of(seed);
    hash->state = first_state(hash->secret);
}

/* 16 bytes are a step only when more follow: the last ones are finish()'s, be they 16. */
void weir_view_hash_add(struct weir_view_hasher *hash, struct weir_view piece)
{
    const uint8_t *data = piece.data;
    size_t left = piece.size;
    size_t room = sizeof hash->tail - hash->tail_size;

    if (left == 0)
        return;
    hash->size_bytes += left;
    if (left > room) {
        if (room != sizeof hash->tail) {
            memcpy(hash->tail + hash->tail_size, data, room);
            hash->state = step(hash->state, hash->secret, hash->tail);
            hash->tail_size = 0;
            data += room;
            left -= room;
        }
        while (left > 16) {
            hash->state = step(hash->state, hash->secret, data);
            data += 16;
            left -= 16;
        }
    }
    memcpy(hash->tail + hash->tail_size, data, left);
    hash->tail_size += (uint32_t)left;
}

uint64_t weir_view_hash_end(const struct weir_view_hasher *hash)
{
    return finish(hash->state, hash->secret, hash->tail, hash->tail_size, hash->size_bytes);
}
