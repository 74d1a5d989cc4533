"""Reed–Solomon parity over packs: groups of up to sixteen, healed without any key (docs/format/parity.md).

Parity is made of ciphertext, by anybody who may read packs, and it cannot lie: what it gives back is hashed against the
pack's name before it counts.
"""
