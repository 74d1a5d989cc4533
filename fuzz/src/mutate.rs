//! Random bytes and mutations from a seed, for the replayer: what it found once, it finds again.

/// Pseudo-random numbers (splitmix64).
pub struct Dice(u64);

/// Numbers at which parsers turn: ends of widths, varints of all lengths, the format's limits.
const TURNS: [u64; 20] = [
    0,
    1,
    0x7f,
    0x80,
    0xff,
    0x100,
    0x3fff,
    0x4000,
    0xffff,
    0x1_0000,
    0x10_0000,
    0x100_0000,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    0x1_0000_0000,
    0x7fff_ffff_ffff_ffff,
    0x8000_0000_0000_0000,
    0xffff_ffff_ffff_fffe,
    0xffff_ffff_ffff_ffff,
];

impl Dice {
    /// Starts from a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`; 0 if that is 0.
    pub fn below(&mut self, end: usize) -> usize {
        (self.roll() % end.max(1) as u64) as usize
    }
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
    out
}

/// Changes `input` in one to four places; `other` is a second input to splice with.
pub fn mutate(dice: &mut Dice, input: &mut Vec<u8>, other: &[u8], bytes_max: usize) {
    for _ in 0..=dice.below(4) {
        once(dice, input, other);
    }
    input.truncate(bytes_max);
}

fn once(dice: &mut Dice, input: &mut Vec<u8>, other: &[u8]) {
    let at = dice.below(input.len());
    let end = at + dice.below((input.len() - at).min(64) + 1);
    let turn = TURNS[dice.below(TURNS.len())];
    match dice.below(10) {
        0 if !input.is_empty() => input[at] ^= 1 << dice.below(8),
        1 if !input.is_empty() => input[at] = dice.roll() as u8,
        2 if !input.is_empty() => input[at] = input[at].wrapping_add(1),
        3 if !input.is_empty() => input[at] = input[at].wrapping_sub(1),
        4 => drop(input.drain(at..end)),
        5 => {
            let piece: Vec<u8> = input[at..end].to_vec();
            input.splice(at..at, piece);
        }
        6 => drop(input.splice(at..end, varint(turn))),
        7 => {
            let width = 1 << dice.below(4);
            let bytes = turn.to_le_bytes();
            for (place, byte) in input.iter_mut().skip(at).zip(&bytes[..width]) {
                *place = *byte;
            }
        }
        8 => {
            let from = dice.below(other.len());
            let to = from + dice.below((other.len() - from).min(256) + 1);
            drop(input.splice(at..end, other[from..to].iter().copied()));
        }
        _ => input.truncate(at),
    }
}
