//! Tiles of 16 x 16 weights, and the order in which a stream runs through one.

/// Inputs, and outputs, of a tile.
pub const SIDE: usize = 16;
/// Weights of a tile.
pub const WEIGHTS: usize = SIDE * SIDE;

/// Input and output, within the tile, of every weight of a stream.
///
/// It is the order in which the threads of a GPU hold a tile for its matrix units: thread `t` of 32 has the weights
/// `8 t` to `8 t + 7`, which are four inputs of each of two outputs.
pub const ORDER: [(u8, u8); WEIGHTS] = order();

const fn order() -> [(u8, u8); WEIGHTS] {
    const INPUTS: [u8; 4] = [0, 1, 8, 9];
    let mut order = [(0, 0); WEIGHTS];
    let mut thread = 0;
    while thread < 32 {
        let mut held = 0;
        while held < 8 {
            let input = thread % 4 * 2 + INPUTS[held % 4];
            let output = thread / 4 + if held < 4 { 0 } else { 8 };
            order[thread as usize * 8 + held] = (input, output);
            held += 1;
        }
        thread += 1;
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_visits_every_weight_once() {
        let mut seen = [false; WEIGHTS];
        for (input, output) in ORDER {
            let at = usize::from(input) * SIDE + usize::from(output);
            assert!(!std::mem::replace(&mut seen[at], true));
        }
        assert_eq!(ORDER[..5], [(0, 0), (1, 0), (8, 0), (9, 0), (0, 8)]);
        assert_eq!(ORDER[255], (15, 15));
    }
}
