//! Reed–Solomon parity over the bytes of packs: products and recovery, slice by slice (docs/format/parity.md).
//!
//! The code is systematic over GF(2^8), `SLOTS` data shards, any number of rows; a slot without a pack counts as zeros, and
//! so does what lies behind the end of a shorter pack. Row j is the same whatever the number of rows.
use reed_solomon_erasure::galois_8::ReedSolomon;

use crate::Error;
use crate::limits::{PARITY_ROWS_MAX, PARITY_SLOTS};

/// Bytes that are multiplied at once: the compiler makes vector instructions of loops over so many.
const LANES: usize = 32;
/// What the carry of a doubling is worth: the polynomial x^8 + x^4 + x^3 + x^2 + 1 without its x^8.
const REDUCTION: u8 = 0x1D;

/// The code with a number of rows.
#[derive(Debug)]
pub struct ParityCode {
    code: ReedSolomon,
    /// Of each slot, the coefficient of each row.
    coefficients: Vec<Vec<u8>>,
}

const MISUSE: Error = Error::Misuse {
    what: "parity with impossible slots or rows",
};

impl ParityCode {
    /// A code of that many rows, at least one.
    pub fn new(rows: usize) -> Result<Self, Error> {
        if rows == 0 || rows > PARITY_ROWS_MAX {
            return Err(MISUSE);
        }
        let code = ReedSolomon::new(PARITY_SLOTS, rows).map_err(|_| MISUSE)?;
        let coefficients = (0..PARITY_SLOTS)
            .map(|slot| {
                let mut of_one = vec![[0_u8; 1]; rows];
                code.encode_single_sep(slot, &[1], &mut of_one)
                    .map_err(|_| MISUSE)?;
                Ok(of_one.concat())
            })
            .collect::<Result<_, Error>>()?;
        Ok(Self { code, coefficients })
    }

    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.coefficients.first().map_or(0, Vec::len)
    }

    /// Adds to slices of all rows what a slice of the pack in `slot` contributes at the same offsets. Equal lengths.
    pub fn add_products(
        &self,
        slot: usize,
        slice: &[u8],
        rows: &mut [Vec<u8>],
    ) -> Result<(), Error> {
        let coefficients = self.coefficients.get(slot).ok_or(MISUSE)?;
        if rows.len() != coefficients.len() || rows.iter().any(|row| row.len() != slice.len()) {
            return Err(MISUSE);
        }
        for (row, coefficient) in rows.iter_mut().zip(coefficients) {
            add_multiple(row, slice, *coefficient);
        }
        Ok(())
    }

    /// Turns slices of rows into slices of lost packs.
    ///
    /// `rows` are slices of equal length of rows by their numbers, to which the products of every pack that is *not* lost
    /// were added: what is left in them is due to the packs of the `lost` slots. At least as many rows as lost slots.
    pub fn recover(
        &self,
        lost: &[usize],
        rows: Vec<(usize, Vec<u8>)>,
    ) -> Result<Vec<Vec<u8>>, Error> {
        let len = rows.first().map_or(0, |(_, row)| row.len());
        if lost.is_empty() || lost.len() > rows.len() {
            return Err(MISUSE);
        }
        let mut shards: Vec<Option<Vec<u8>>> = (0..PARITY_SLOTS)
            .map(|slot| (!lost.contains(&slot)).then(|| vec![0; len]))
            .chain((0..self.rows()).map(|_| None))
            .collect();
        for (number, row) in rows {
            let place = shards.get_mut(PARITY_SLOTS + number).ok_or(MISUSE)?;
            *place = Some(row);
        }
        self.code
            .reconstruct_data(&mut shards)
            .map_err(|_| MISUSE)?;
        lost.iter()
            .map(|slot| shards.get_mut(*slot).and_then(Option::take).ok_or(MISUSE))
            .collect()
    }
}

/// Adds `coefficient` times a slice to another of the same length.
///
/// A product is the sum of the slice's doubles where the coefficient has a bit: doubling takes four operations on a vector,
/// a table of products one load for each byte (1.65 times as fast here).
fn add_multiple(to: &mut [u8], slice: &[u8], coefficient: u8) {
    let bits: [u8; 8] = std::array::from_fn(|bit| 0_u8.wrapping_sub(coefficient >> bit & 1));
    let (blocks, rest) = slice.as_chunks::<LANES>();
    let (sums, rest_of_sums) = to.as_chunks_mut::<LANES>();
    for (sum, block) in sums.iter_mut().zip(blocks) {
        add_doubles(sum, &mut block.clone(), bits);
    }
    add_doubles(rest_of_sums, &mut rest.to_vec(), bits);
}

/// Adds to `sum` the doubles of `block` whose bit is set. Inlined: where the length is known, it becomes vector instructions.
#[expect(
    clippy::inline_always,
    reason = "the known length has to reach the loop"
)]
#[inline(always)]
fn add_doubles(sum: &mut [u8], block: &mut [u8], bits: [u8; 8]) {
    for mask in bits {
        for (to, from) in sum.iter_mut().zip(block.iter_mut()) {
            *to ^= *from & mask;
            let carry = (from.cast_signed() >> 7).cast_unsigned();
            *from = (*from << 1) ^ (carry & REDUCTION);
        }
    }
}

/// Adds one slice to another of the same length.
pub fn add(to: &mut [u8], slice: &[u8]) {
    for (a, b) in to.iter_mut().zip(slice) {
        *a ^= b;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Multiplication in GF(2^8) modulo x^8 + x^4 + x^3 + x^2 + 1, as the format says it.
    fn times(mut a: u8, mut b: u8) -> u8 {
        let mut product = 0;
        while b != 0 {
            if b & 1 != 0 {
                product ^= a;
            }
            a = (a << 1) ^ if a & 0x80 != 0 { 0x1D } else { 0 };
            b >>= 1;
        }
        product
    }

    fn power(a: u8, n: usize) -> u8 {
        (0..n).fold(1, |product, _| times(product, a))
    }

    /// The coefficients of a row by the definition: the polynomial through the points (i, data i), evaluated at 16 + row.
    fn coefficients(row: u8) -> Vec<u8> {
        let slots = PARITY_SLOTS as u8;
        let at = slots + row;
        (0..slots)
            .map(|i| {
                let others = || (0..slots).filter(move |j| *j != i);
                let above = others().fold(1, |product, j| times(product, at ^ j));
                let below = others().fold(1, |product, j| times(product, i ^ j));
                times(above, power(below, 254))
            })
            .collect()
    }

    #[test]
    fn rows_are_what_the_format_says() {
        let code = ParityCode::new(4).unwrap();
        for slot in 0..PARITY_SLOTS {
            let every: Vec<u8> = (0..=255).chain(0..7).collect();
            let mut out = vec![vec![5; every.len()]; 4];
            code.add_products(slot, &every, &mut out).unwrap();
            for (row, sum) in out.iter().enumerate() {
                let c = coefficients(row as u8)[slot];
                let expected: Vec<u8> = every.iter().map(|b| 5 ^ times(c, *b)).collect();
                assert_eq!(*sum, expected, "row {row}, slot {slot}");
            }
        }
    }

    #[test]
    fn a_row_is_the_same_whatever_the_number_of_rows() {
        let (one, two) = (ParityCode::new(1).unwrap(), ParityCode::new(2).unwrap());
        let (mut a, mut b) = (vec![vec![0; 6]; 1], vec![vec![0; 6]; 2]);
        for slot in 0..PARITY_SLOTS {
            one.add_products(slot, b"parity", &mut a).unwrap();
            two.add_products(slot, b"parity", &mut b).unwrap();
            assert_eq!(a[0], b[0]);
        }
    }

    #[test]
    fn impossible_requests_are_refused() {
        assert!(ParityCode::new(0).is_err());
        assert!(ParityCode::new(PARITY_ROWS_MAX + 1).is_err());
        let code = ParityCode::new(1).unwrap();
        assert!(
            code.add_products(PARITY_SLOTS, &[1], &mut [vec![0]])
                .is_err()
        );
        assert!(code.add_products(0, &[1], &mut [vec![]]).is_err());
        assert!(code.add_products(0, &[1], &mut []).is_err());
        assert!(code.add_products(0, &[], &mut [vec![]]).is_ok());
        assert!(code.recover(&[0, 1], vec![(0, vec![1])]).is_err());
        assert!(code.recover(&[0], vec![(1, vec![1])]).is_err());
        assert!(code.recover(&[], vec![]).is_err());
    }

    proptest! {
        #[test]
        fn what_is_lost_comes_back(
            shards in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 77), 1..=PARITY_SLOTS),
            rows in 1_usize..=4,
            seed in any::<u64>(),
        ) {
            let code = ParityCode::new(rows).unwrap();
            let mut parity = vec![vec![0_u8; 77]; rows];
            for (slot, shard) in shards.iter().enumerate() {
                code.add_products(slot, shard, &mut parity).unwrap();
            }
            let count = rows.min(shards.len());
            let first = seed as usize % (shards.len() - count + 1);
            let lost: Vec<usize> = (first..first + count).collect();
            for (slot, shard) in shards.iter().enumerate().filter(|(slot, _)| !lost.contains(slot)) {
                code.add_products(slot, shard, &mut parity).unwrap();
            }
            let found = code.recover(&lost, parity.into_iter().enumerate().collect()).unwrap();
            for (slot, shard) in lost.iter().zip(found) {
                prop_assert_eq!(&shard, &shards[*slot]);
            }
        }
    }
}
