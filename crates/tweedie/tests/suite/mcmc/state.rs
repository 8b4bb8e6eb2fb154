//! Chains as rows: addresses, selection, saving and restoring; options.

use super::*;
use burn::tensor::{DType, TensorData};
use std::collections::BTreeMap;
use std::path::Path;
use tweedie::data::{Condition, RowDensity};
use tweedie::mcmc::{Funnel, Hmc, Mala, RandomWalk, Ula};
use tweedie::tensor::Dual;
use tweedie::{Error, Result};

fn kernels() -> [Box<dyn Transition>; 4] {
    [
        Box::new(RandomWalk { step_size: 0.5, warm_up: 15, ..RandomWalk::default() }),
        Box::new(Mala { step_size: 0.1, warm_up: 15, ..Mala::default() }),
        Box::new(Ula { step_size: 1e-3 }),
        Box::new(Hmc { step_size: 0.1, leapfrog: 3, warm_up: 15, ..Hmc::default() }),
    ]
}

/// Starts of a funnel in either precision.
fn starts() -> [Tensor<2>; 2] {
    let single = exact(&Funnel { width: 3, scale: 1.0 }, 6, 1);
    [single.clone(), single.cast(DType::F64).mul_scalar(1.0 / 3.0)]
}

fn saved(chains: &Chains) -> BTreeMap<String, TensorData> {
    let mut arrays = BTreeMap::new();
    chains.save("chains.", &mut arrays);
    arrays
}

/// On a target of row functions and on one of tensors.
#[test]
fn a_chain_is_the_same_alone_as_among_others() {
    let (funnel, mixture) = (Funnel { width: 3, scale: 1.0 }, gaussian());
    for kernel in kernels() {
        for start in starts() {
            let wide = kernel.init(start.clone(), &funnel).unwrap();
            let narrow = kernel.init(start.narrow(1, 0, 2), &mixture).unwrap();
            for (chains, target) in [(wide, &funnel as &dyn LogDensity), (narrow, &mixture)] {
                let (alone, some) = (chains.select(&[4]), chains.select(&[5, 2]));
                let run = |chains| walk(&*kernel, chains, target, 25, &Draws::new(2)).0;
                let all = run(chains);
                assert_eq!(saved(&run(alone)), saved(&all.select(&[4])), "{kernel:?}");
                assert_eq!(saved(&run(some)), saved(&all.select(&[5, 2])), "{kernel:?}");
            }
        }
    }
}

#[test]
fn a_chain_s_noise_is_addressed_by_its_number() {
    let (kernel, funnel) = (RandomWalk::default(), Funnel { width: 3, scale: 1.0 });
    let same = doubles(&[0.1, 0.2, 0.3], 3).expand([2, 3]);
    let chains = kernel.init(same, &funnel).unwrap();
    let run = |rows: Vec<u64>| {
        let chains = chains.clone().with_rows(rows).unwrap();
        walk(&kernel, chains, &funnel, 10, &Draws::new(3)).0.values().to_vec()
    };
    let found = run(vec![7, 3]);
    assert_ne!(found[..3], found[3..]);
    assert_eq!(run(vec![3, 7]), [&found[3..], &found[..3]].concat());
    assert!(chains.with_rows(vec![1]).is_err());
}

#[test]
fn chains_restored_from_saved_arrays_continue_to_the_byte() {
    let (funnel, draws) = (Funnel { width: 3, scale: 1.0 }, Draws::new(4));
    for kernel in kernels() {
        for start in starts() {
            let dtype = start.dtype();
            // In the middle of warm-up, and with numbers of their own.
            let chains = kernel.init(start, &funnel).unwrap();
            let chains = chains.with_rows(vec![9, 8, 7, u64::MAX, 5, 4]).unwrap();
            let (half, _) = walk(&*kernel, chains, &funnel, 10, &draws);
            let mut arrays = saved(&half);
            let restored = Chains::load("chains.", &mut arrays, Path::new("a"), &cpu()).unwrap();
            assert!(arrays.is_empty(), "{arrays:?}");
            assert_eq!((restored.x().dtype(), restored.steps()), (dtype, 10));
            let [a, b] = [half, restored]
                .map(|chains| saved(&walk(&*kernel, chains, &funnel, 10, &draws).0));
            assert_eq!(a, b, "{kernel:?}");
        }
    }
}

#[test]
fn arrays_that_are_no_chains_are_refused_by_name() {
    let kernel = Mala::default();
    let funnel = Funnel { width: 3, scale: 1.0 };
    let arrays = saved(&kernel.init(starts()[0].clone(), &funnel).unwrap());
    let load = |arrays: &BTreeMap<String, TensorData>| {
        Chains::load("chains.", &mut arrays.clone(), Path::new("a"), &cpu())
    };
    assert!(load(&arrays).is_ok());
    for name in ["x", "rows", "steps", "step_size", "log_density", "score"] {
        let name = format!("chains.{name}");
        let wrong = TensorData::new(vec![1i32, 2], [2]);
        let mut damaged = arrays.clone();
        damaged.insert(name.clone(), wrong);
        let error = load(&damaged).expect_err(&name);
        assert!(matches!(&error, Error::File { place, .. } if *place == name), "{error}");
        damaged.remove(&name);
        let optional = name.ends_with("log_density") || name.ends_with("score");
        assert_eq!(load(&damaged).is_ok(), optional, "{name} missing");
    }
}

/// A target by its tensors alone.
struct ByTensors<'a>(&'a dyn LogDensity);

impl LogDensity for ByTensors<'_> {
    fn width(&self) -> usize {
        self.0.width()
    }
    fn log_density(&self, x: Dual<2>, condition: &Condition) -> Result<Dual<2>> {
        self.0.log_density(x, condition)
    }
}

#[test]
fn rows_and_tensors_of_a_target_make_the_same_chains() {
    let funnel = Funnel { width: 3, scale: 1.0 };
    assert!(funnel.by_row().is_some() && ByTensors(&funnel).by_row().is_none());
    for kernel in kernels() {
        let start = || starts()[1].clone();
        let run = |target: &dyn LogDensity| {
            let chains = kernel.init(start(), target).unwrap();
            walk(&*kernel, chains, target, 20, &Draws::new(5)).0.values().to_vec()
        };
        all_close(format!("{kernel:?}"), &run(&ByTensors(&funnel)), &run(&funnel), 1e-12);
    }
}

#[test]
fn chains_of_one_kernel_continue_under_another() {
    let funnel = Funnel { width: 3, scale: 1.0 };
    let [walk_of, mala, ula, _] = kernels();
    let both = mala.init(starts()[1].clone(), &funnel).unwrap();
    // The walk forgets the score, ULA the log density; each computes what it needs.
    let (walked, _) = walk(&*walk_of, both, &funnel, 3, &Draws::new(6));
    assert!(walked.score().is_none());
    let (drifted, _) = walk(&*ula, walked, &funnel, 3, &Draws::new(6));
    assert!(drifted.log_density().is_none());
    let (again, _) = walk(&*mala, drifted, &funnel, 3, &Draws::new(6));
    let fresh = mala.init(again.x(), &funnel).unwrap();
    assert_eq!((again.log_density(), again.score()), (fresh.log_density(), fresh.score()));
}

#[test]
fn chains_compute_what_they_keep_anew_for_a_new_target() {
    let [old, new] = [1.0, 2.0].map(|scale| Funnel { width: 3, scale });
    let chains = Mala::default().init(starts()[0].clone(), &old).unwrap();
    let moved = chains.clone().with_target(&new).unwrap();
    let fresh = Mala::default().init(chains.x(), &new).unwrap();
    assert_ne!(moved.log_density(), chains.log_density());
    assert_eq!((moved.log_density(), moved.score()), (fresh.log_density(), fresh.score()));
}

/// Log density ln x for x > 0, NaN below, infinite above 2.
struct Strange;

impl RowDensity for Strange {
    fn log_p(&self, x: &[f64], score: &mut [f64]) -> f64 {
        score[0] = x[0].recip();
        if x[0] > 2.0 { f64::INFINITY } else { x[0].ln() }
    }
}

impl LogDensity for Strange {
    fn width(&self) -> usize {
        1
    }
    fn log_density(&self, x: Dual<2>, condition: &Condition) -> Result<Dual<2>> {
        tweedie::data::row_by_row(self, 1, x, condition)
    }
    fn by_row(&self) -> Option<&dyn RowDensity> {
        Some(self)
    }
}

#[test]
fn no_chain_goes_where_the_log_density_is_not_finite() {
    for kernel in [
        &RandomWalk { step_size: 2.0, ..RandomWalk::default() } as &dyn Transition,
        &Mala { step_size: 1.0, ..Mala::default() },
    ] {
        let mut chains = kernel.init(doubles(&[1.0; 50], 1), &Strange).unwrap();
        for _ in 0..50 {
            let (next, info) = kernel.step(chains, &Strange, &Draws::new(7)).unwrap();
            assert!(next.values().iter().all(|x| (0.0..=2.0).contains(x)));
            assert!(info.log_ratio.iter().all(|ratio| !ratio.is_nan()));
            assert!((0.0..=1.0).contains(&info.acceptance()));
            chains = next;
        }
        for bad in [-1.0, 3.0, f64::NAN] {
            let error = kernel.init(doubles(&[1.0, bad], 1), &Strange).expect_err("a bad start");
            assert!(error.to_string().contains("row 1"), "{error}");
        }
    }
}

#[test]
fn options_of_kernels_are_read_and_checked() {
    let mala: Mala = toml::from_str("step_size = 0.2\nwarm_up = 10").unwrap();
    assert_eq!(mala, Mala { step_size: 0.2, warm_up: 10, acceptance: 0.574 });
    assert!(toml::from_str::<Ula>("step = 0.2").is_err());
    assert!(toml::from_str::<RandomWalk>("acceptance = 0.3").unwrap().check().is_ok());
    let wrong: [(Box<dyn Transition>, &str); 5] = [
        (Box::new(Ula { step_size: 0.0 }), "kernel.step_size"),
        (Box::new(Mala { step_size: f64::NAN, ..mala }), "kernel.step_size"),
        (Box::new(Mala { acceptance: 1.0, ..mala }), "kernel.acceptance"),
        (Box::new(Hmc { leapfrog: 0, ..Hmc::default() }), "kernel.leapfrog"),
        (Box::new(RandomWalk { step_size: -1.0, ..RandomWalk::default() }), "kernel.step_size"),
    ];
    for (kernel, key) in wrong {
        let errors = [
            kernel.check().expect_err(key),
            kernel.init(doubles(&[0.0; 10], 10), &Funnel::default()).map(|_| ()).expect_err(key),
        ];
        assert!(errors.iter().all(|error| error.to_string().starts_with(key)), "{errors:?}");
    }
    let narrow = Mala::default().init(doubles(&[0.0; 4], 2), &Funnel::default());
    assert!(matches!(narrow, Err(Error::Shape { .. })));
}
