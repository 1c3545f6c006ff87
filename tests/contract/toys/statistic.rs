//! A toy statistic: how many tokens came by.

use burn::tensor::{Device, Tensor};
use calib::running::observers::{Accumulator, Batch, Observer};
use quantizers::statistics::{Pass, Statistic, StatisticShape};

static TOKENS: Statistic = Statistic {
    name: "tokens",
    summary: "number of tokens, twice",
    shape: StatisticShape::Range,
    pass: Pass::Forward,
};

struct Tokens;

impl Observer for Tokens {
    fn statistic(&self) -> &'static Statistic {
        &TOKENS
    }

    fn start(&self, _width: usize) -> Box<dyn Accumulator> {
        Box::new(Count(0))
    }
}

struct Count(u16);

impl Accumulator for Count {
    fn add(&mut self, batch: &Batch) {
        self.0 += u16::try_from(batch.values.dims()[0]).unwrap();
    }

    fn finish(self: Box<Self>) -> (Vec<usize>, Vec<f32>) {
        (vec![2], vec![f32::from(self.0); 2])
    }
}

#[test]
fn a_statistic_is_its_name_and_an_observer() {
    let observer: &dyn Observer = &Tokens;
    let mut accumulator = observer.start(3);
    for tokens in [2, 5] {
        accumulator.add(&Batch {
            values: Tensor::zeros([tokens, 3], &Device::flex()),
            sequences: 1,
            kept: 0,
        });
    }
    assert_eq!(accumulator.finish(), (vec![2], vec![7.0, 7.0]));
    assert_eq!(observer.statistic().name, "tokens");
}
