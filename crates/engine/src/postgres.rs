//! Pages of `PostgreSQL`: whether what a data file holds is what the server wrote there.
//!
//! The checksum is that of `src/include/storage/checksum_impl.h` (`pg_checksum_page`): 32 lanes of FNV-1a over the page with
//! its checksum taken as zero, folded with the block's number in its relation.

/// Lanes of the checksum.
const LANES: usize = 32;
/// Bytes that all lanes take at once.
const ROW_BYTES: usize = LANES * 4;
const FNV_PRIME: u32 = 16_777_619;
/// `checksumBaseOffsets`.
const BASES: [u32; LANES] = [
    0x5B1F_36E9,
    0xB852_5960,
    0x02AB_50AA,
    0x1DE6_6D2A,
    0x79FF_467A,
    0x9BB9_F8A3,
    0x217E_7CD2,
    0x83E1_3D2C,
    0xF8D4_474F,
    0xE39E_B970,
    0x42C6_AE16,
    0x9932_16FA,
    0x7B09_3B5D,
    0x98DA_FF3C,
    0xF718_902A,
    0x0B1C_9CDB,
    0xE58F_764B,
    0x1876_36BC,
    0x5D7B_3BB1,
    0xE73D_E7DE,
    0x92BE_C979,
    0xCCA6_C0B2,
    0x304A_0979,
    0x85AA_43D4,
    0x7831_25BB,
    0x6CA8_EAA2,
    0xE407_EAC6,
    0x4B5C_FC3E,
    0x9FBF_8C76,
    0x15CA_20BE,
    0xF2CA_9FD3,
    0x959B_D756,
];
/// Where `pd_checksum` is in a page, and the row's word that holds it.
const CHECKSUM_AT: usize = 8;
const CHECKSUM_WORD: usize = CHECKSUM_AT / 4;
/// Where `pd_upper` is: zero in a page that was never used.
const UPPER_AT: usize = 14;

/// What a page is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Page {
    /// Its checksum is right.
    Sound,
    /// It was never used, and is all zeros.
    New,
    /// Its checksum is wrong, or it claims to be new and is not empty. `lsn` is when it was last changed, if that can be believed.
    Bad {
        /// `pd_lsn`.
        lsn: u64,
    },
}

fn u16_at(page: &[u8], at: usize) -> Option<u16> {
    let bytes = page.get(at..at.checked_add(2)?)?;
    Some(u16::from_le_bytes(bytes.try_into().ok()?))
}

fn u32_at(page: &[u8], at: usize) -> Option<u32> {
    let bytes = page.get(at..at.checked_add(4)?)?;
    Some(u32::from_le_bytes(bytes.try_into().ok()?))
}

fn mix(sum: u32, value: u32) -> u32 {
    let folded = sum ^ value;
    folded.wrapping_mul(FNV_PRIME) ^ (folded >> 17)
}

/// The checksum that the page must carry as block `block` of its relation; `None` if it is no page (too short, not of whole rows).
pub fn checksum(page: &[u8], block: u32) -> Option<u16> {
    if page.len() < ROW_BYTES || !page.len().is_multiple_of(ROW_BYTES) {
        return None;
    }
    let mut sums = BASES;
    for (number, row) in page.chunks_exact(ROW_BYTES).enumerate() {
        for (lane, (sum, word)) in sums.iter_mut().zip(row.chunks_exact(4)).enumerate() {
            let mut value = u32::from_le_bytes(word.try_into().unwrap_or_default());
            if number == 0 && lane == CHECKSUM_WORD {
                value &= 0xFFFF_0000;
            }
            *sum = mix(*sum, value);
        }
    }
    let folded = sums.iter().fold(0, |all, sum| all ^ mix(mix(*sum, 0), 0)) ^ block;
    Some(u16::try_from(folded % 65_535).ok()? + 1)
}

/// Judges a page as block `block` of its relation.
pub fn judge(page: &[u8], block: u32) -> Page {
    let lsn = match (u32_at(page, 0), u32_at(page, 4)) {
        (Some(high), Some(low)) => u64::from(high) << 32 | u64::from(low),
        _ => 0,
    };
    if u16_at(page, UPPER_AT) == Some(0) {
        let empty = page.iter().all(|byte| *byte == 0);
        return if empty { Page::New } else { Page::Bad { lsn } };
    }
    match (u16_at(page, CHECKSUM_AT), checksum(page, block)) {
        (Some(held), Some(right)) if held == right => Page::Sound,
        _ => Page::Bad { lsn },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A page like the server's: some header, some rows.
    fn page(block: u32) -> Vec<u8> {
        let mut page = vec![0_u8; 8192];
        page[4..8].copy_from_slice(&0x1234_u32.to_le_bytes());
        page[14..16].copy_from_slice(&8000_u16.to_le_bytes());
        page[8000..8192].fill(7);
        let sum = checksum(&page, block).expect("a page");
        page[8..10].copy_from_slice(&sum.to_le_bytes());
        page
    }

    #[test]
    fn a_page_is_sound_in_its_own_place_only() {
        assert_eq!(judge(&page(3), 3), Page::Sound);
        assert_eq!(judge(&page(3), 4), Page::Bad { lsn: 0x1234 });
    }

    #[test]
    fn every_byte_counts() {
        for at in (0..8192).step_by(97) {
            let mut torn = page(0);
            torn[at] ^= 1;
            assert!(matches!(judge(&torn, 0), Page::Bad { .. }), "byte {at}");
        }
    }

    #[test]
    fn a_new_page_is_empty() {
        assert_eq!(judge(&[0; 8192], 9), Page::New);
        let mut odd = [0; 8192];
        odd[100] = 1;
        assert!(matches!(judge(&odd, 9), Page::Bad { lsn: 0 }));
    }

    #[test]
    fn what_is_no_page_is_bad() {
        for length in [0, 1, 15, 16, 127, 200] {
            assert_eq!(checksum(&vec![1; length], 0), None);
            assert!(matches!(judge(&vec![1; length], 0), Page::Bad { .. }));
        }
    }
}
