//! The two forms of MurmurHash3 that hash keys: the first half of the 128-bit one (theta and tuple sketches), and the
//! 64-bit one of Hive's Bloom filters.

const C1: u64 = 0x87c3_7b91_1142_53d5;
const C2: u64 = 0x4cf5_ad43_2745_937f;

fn finish(mut hash: u64) -> u64 {
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

/// Up to eight bytes, the first one lowest.
fn word(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .rev()
        .fold(0, |word, byte| (word << 8) | u64::from(*byte))
}

fn first_mixed(word: u64) -> u64 {
    word.wrapping_mul(C1).rotate_left(31).wrapping_mul(C2)
}

fn second_mixed(word: u64) -> u64 {
    word.wrapping_mul(C2).rotate_left(33).wrapping_mul(C1)
}

/// The first 64 bits of the 128-bit hash.
pub(super) fn murmur_128(bytes: &[u8], seed: u64) -> u64 {
    let (blocks, rest) = bytes.as_chunks::<16>();
    let (mut one, mut two) = (seed, seed);
    for block in blocks {
        let (first, second) = block.split_at(8);
        one ^= first_mixed(word(first));
        one = one
            .rotate_left(27)
            .wrapping_add(two)
            .wrapping_mul(5)
            .wrapping_add(0x52dc_e729);
        two ^= second_mixed(word(second));
        two = two
            .rotate_left(31)
            .wrapping_add(one)
            .wrapping_mul(5)
            .wrapping_add(0x3849_5ab5);
    }
    let (first, second) = rest.split_at(rest.len().min(8));
    one ^= first_mixed(word(first));
    two ^= second_mixed(word(second));
    let length = bytes.len() as u64;
    (one, two) = (one ^ length, two ^ length);
    one = one.wrapping_add(two);
    two = two.wrapping_add(one);
    finish(one).wrapping_add(finish(two))
}

/// Hive's 64-bit hash.
pub(super) fn murmur_64(bytes: &[u8]) -> u64 {
    const SEED: u64 = 104_729;
    let (blocks, rest) = bytes.as_chunks::<8>();
    let mut hash = SEED;
    for block in blocks {
        hash ^= first_mixed(word(block));
        hash = hash.rotate_left(27).wrapping_mul(5).wrapping_add(0x52dc_e729);
    }
    hash ^= first_mixed(word(rest));
    finish(hash ^ bytes.len() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_of_theta_sketches_is_that_of_java() {
        // The one entry of the theta sketch that Druid 37 made of this text is its hash without the lowest bit.
        let hash = murmur_128("GO:OD AM".as_bytes(), 9001);
        assert_eq!(
            (hash >> 1).to_le_bytes(),
            [0x99, 0xbc, 0xa0, 0x1c, 0xfd, 0x89, 0x9b, 0x73]
        );
    }
}
