"""What the modules should do, written from the papers and PROTOCOL.md, not from the RTL or the Rust."""

MASK = (1 << 64) - 1


def rotl(x: int, n: int) -> int:
    return ((x << n) | (x >> (64 - n))) & MASK


def siphash128(key: bytes, data: bytes) -> bytes:
    """SipHash-2-4 with 128 bits of output (Aumasson and Bernstein)."""
    k0, k1 = (int.from_bytes(key[i : i + 8], "little") for i in (0, 8))
    v = [0x736F6D6570736575 ^ k0, 0x646F72616E646F6D ^ k1 ^ 0xEE, 0x6C7967656E657261 ^ k0, 0x7465646279746573 ^ k1]

    def rounds(count: int) -> None:
        for _ in range(count):
            v[0] = (v[0] + v[1]) & MASK
            v[1] = rotl(v[1], 13) ^ v[0]
            v[0] = rotl(v[0], 32)
            v[2] = (v[2] + v[3]) & MASK
            v[3] = rotl(v[3], 16) ^ v[2]
            v[0] = (v[0] + v[3]) & MASK
            v[3] = rotl(v[3], 21) ^ v[0]
            v[2] = (v[2] + v[1]) & MASK
            v[1] = rotl(v[1], 17) ^ v[2]
            v[2] = rotl(v[2], 32)

    for word in words(data):
        v[3] ^= word
        rounds(2)
        v[0] ^= word
    v[2] ^= 0xEE
    rounds(4)
    low = v[0] ^ v[1] ^ v[2] ^ v[3]
    v[1] ^= 0xDD
    rounds(4)
    high = v[0] ^ v[1] ^ v[2] ^ v[3]
    return low.to_bytes(8, "little") + high.to_bytes(8, "little")


def words(data: bytes) -> list[int]:
    """The words that are hashed: the last has what is left and the length in its top byte."""
    whole = len(data) // 8 * 8
    out = [int.from_bytes(data[i : i + 8], "little") for i in range(0, whole, 8)]
    return [*out, int.from_bytes(data[whole:], "little") | (len(data) & 0xFF) << 56]


def bucket(now: int, last: int, credit: int, cost: int) -> tuple[bool, int, int]:
    """One request's credit: whether there was enough, what is left, and the time of it."""
    second = 1_000_000_000
    credit = min(credit + max(now - last, 0), second)
    enough = credit >= cost
    return enough, credit - cost if enough else credit, max(now, last)
