//! Reed–Solomon parity over the bytes of packs: products and recovery, slice by slice (docs/format/parity.md).
//!
//! The code is systematic over GF(2^8), `SLOTS` data shards, any number of rows; a slot without a pack counts as zeros, and
//! so does what lies behind the end of a shorter pack. Row j is the same whatever the number of rows.
use reed_solomon_erasure::galois_8::ReedSolomon;

use crate::Error;
use crate::limits::{PARITY_ROWS_MAX, PARITY_SLOTS};

/// The code with a number of rows.
#[derive(Debug)]
pub struct ParityCode {
    code: ReedSolomon,
    rows: usize,
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
        Ok(Self { code, rows })
    }

    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// What a slice of the pack in `slot` adds to each row at the same offsets. `out` has a buffer of its length per row.
    pub fn products(&self, slot: usize, slice: &[u8], out: &mut [Vec<u8>]) -> Result<(), Error> {
        for row in out.iter_mut() {
            row.clear();
            row.resize(slice.len(), 0);
        }
        if slice.is_empty() {
            return Ok(());
        }
        self.code
            .encode_single_sep(slot, slice, out)
            .map_err(|_| MISUSE)
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
            .chain((0..self.rows).map(|_| None))
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
            let mut out = vec![Vec::new(); 4];
            code.products(slot, &[1, 2, 0x80, 0xFF], &mut out).unwrap();
            for (row, product) in out.iter().enumerate() {
                let c = coefficients(row as u8)[slot];
                let expected: Vec<u8> = [1, 2, 0x80, 0xFF].iter().map(|b| times(c, *b)).collect();
                assert_eq!(*product, expected, "row {row}, slot {slot}");
            }
        }
    }

    #[test]
    fn a_row_is_the_same_whatever_the_number_of_rows() {
        let (one, two) = (ParityCode::new(1).unwrap(), ParityCode::new(2).unwrap());
        let (mut a, mut b) = (vec![Vec::new(); 1], vec![Vec::new(); 2]);
        for slot in 0..PARITY_SLOTS {
            one.products(slot, b"parity", &mut a).unwrap();
            two.products(slot, b"parity", &mut b).unwrap();
            assert_eq!(a[0], b[0]);
        }
    }

    #[test]
    fn impossible_requests_are_refused() {
        assert!(ParityCode::new(0).is_err());
        assert!(ParityCode::new(PARITY_ROWS_MAX + 1).is_err());
        let code = ParityCode::new(1).unwrap();
        assert!(
            code.products(PARITY_SLOTS, &[1], &mut [Vec::new()])
                .is_err()
        );
        assert!(code.products(0, &[], &mut [Vec::new()]).is_ok());
        assert!(code.recover(&[0, 1], vec![(0, vec![1])]).is_err());
        assert!(code.recover(&[0], vec![(1, vec![1])]).is_err());
        assert!(code.recover(&[], vec![]).is_err());
    }

    proptest! {
        #[test]
        fn what_is_lost_comes_back(
            shards in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 32), 1..=PARITY_SLOTS),
            rows in 1_usize..=4,
            seed in any::<u64>(),
        ) {
            let code = ParityCode::new(rows).unwrap();
            let mut parity = vec![vec![0_u8; 32]; rows];
            let mut out = vec![Vec::new(); rows];
            for (slot, shard) in shards.iter().enumerate() {
                code.products(slot, shard, &mut out).unwrap();
                for (row, product) in parity.iter_mut().zip(&out) {
                    add(row, product);
                }
            }
            let count = rows.min(shards.len());
            let first = seed as usize % (shards.len() - count + 1);
            let lost: Vec<usize> = (first..first + count).collect();
            for (slot, shard) in shards.iter().enumerate().filter(|(slot, _)| !lost.contains(slot)) {
                code.products(slot, shard, &mut out).unwrap();
                for (row, product) in parity.iter_mut().zip(&out) {
                    add(row, product);
                }
            }
            let found = code.recover(&lost, parity.into_iter().enumerate().collect()).unwrap();
            for (slot, shard) in lost.iter().zip(found) {
                prop_assert_eq!(&shard, &shards[*slot]);
            }
        }
    }
}
