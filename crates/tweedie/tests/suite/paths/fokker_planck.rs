//! The Fokker–Planck equation on a mesh against closed forms and against simulated paths.

use crate::oracle::{doubles, host, orders};
use crate::support::{KOLMOGOROV, cpu, kolmogorov, schedule};
use std::sync::Arc;
use tweedie::burn::tensor::Tensor;
use tweedie::denoise::{Component, GaussianMixture};
use tweedie::draw::densities;
use tweedie::process::{AnySchedule, Axis, Edm, Level, LinearSde, Mesh, Schedule, Sde, Ve};
use tweedie::{Draws, Error};

/// Two components on the line.
fn on_the_line() -> GaussianMixture {
    let component = |w, m, v| Component::isotropic(w, vec![m], v);
    GaussianMixture::new(vec![component(0.6, -0.9, 0.3), component(0.4, 1.1, 0.2)]).unwrap()
}

fn in_the_plane() -> GaussianMixture {
    let component = |w, m: [f64; 2], c: [f64; 4]| Component::full(w, m.to_vec(), &c).unwrap();
    GaussianMixture::new(vec![
        component(0.6, [-0.8, 0.5], [0.3, 0.1, 0.1, 0.25]),
        component(0.4, [0.9, -0.6], [0.25, -0.1, -0.1, 0.4]),
    ])
    .unwrap()
}

/// The oracle's density on a mesh.
fn exact(mixture: &GaussianMixture, mesh: &Mesh, level: Level) -> Vec<f64> {
    host(&mixture.log_density(mesh.centres(), &level.into()).unwrap().exp())
}

/// ½ ∫ |p − q|.
fn total_variation(mesh: &Mesh, p: &[f64], q: &[f64]) -> f64 {
    0.5 * mesh.volume() * p.iter().zip(q).map(|(p, q)| (p - q).abs()).sum::<f64>()
}

/// √n times the Kolmogorov–Smirnov distance of a batch from a density on the line.
fn off(x: &Tensor<2>, mesh: &Mesh, density: &[f64]) -> f64 {
    let axis = mesh.axes()[0];
    let mut sums = vec![0.0];
    for p in density {
        sums.push(sums[sums.len() - 1] + p * axis.spacing());
    }
    let cdf = |x: f64| {
        let place = ((x - axis.low) / axis.spacing()).clamp(0.0, axis.cells as f64 - 1e-6);
        let i = place as usize;
        sums[i] + (place - i as f64) * (sums[i + 1] - sums[i])
    };
    let x = host(x);
    kolmogorov(&x, cdf) * (x.len() as f64).sqrt()
}

/// `steps + 1` times over the range, even in λ from where the noise begins to show beside the data's own spread.
fn times(schedule: &dyn Schedule, steps: usize) -> Vec<f64> {
    let (first, last) = schedule.range();
    let (high, low) = (schedule.level(first).lambda, schedule.level(last).lambda);
    let high = high.min(8.0);
    let at = |k: usize| schedule.time(high + k as f64 / steps as f64 * (low - high));
    let inner = (1..steps).map(at);
    std::iter::once(first).chain(inner).chain([last]).collect()
}

#[test]
fn marginals_of_linear_processes_are_their_closed_forms() {
    let data = on_the_line();
    let ou_of_2 = LinearSde::new(|_| -0.5, |_| 0.0, |t| (1.0 + t).sqrt(), (1e-3, 2.0)).unwrap();
    let named: Vec<(&str, Arc<dyn Schedule>)> = vec![
        ("vp-linear", Arc::new(schedule("vp-linear"))),
        ("sub-vp", Arc::new(schedule("sub-vp"))),
        ("ou", Arc::new(schedule("ou"))),
        ("cosine", Arc::new(schedule("cosine"))),
        ("straight", Arc::new(schedule("straight"))),
        ("chain", Arc::new(schedule("chain"))),
        ("ve", Arc::new(AnySchedule::Ve(Ve::default()))),
        ("edm", Arc::new(AnySchedule::Edm(Edm::default()))),
        ("linear", Arc::new(ou_of_2)),
    ];
    for (name, schedule) in named {
        let (first, last) = schedule.range();
        // Six standard deviations at either end, and seven cells to the narrower component's.
        let most = schedule.level(last).sigma.max(1.0);
        let high = 3.0 + 6.0 * most;
        let cells = (2.0 * high / 0.06).ceil() as usize;
        let mesh = Mesh::line(Axis { low: -high, high, cells }).unwrap();
        let sde = Sde::linear(schedule.clone());
        let start = exact(&data, &mesh, schedule.level(first));
        let mass = mesh.mass(&start);
        let times = times(&*schedule, 1200);
        let (mut step, mut far) = (0, 0.0f64);
        let end = mesh.evolve(&sde, start, &times, |t, p| {
            if step % 100 == 0 {
                assert!(p.iter().all(|p| *p >= 0.0));
                let here = total_variation(&mesh, p, &exact(&data, &mesh, schedule.level(t)));
                far = far.max(here);
            }
            step += 1;
        });
        let end = end.unwrap();
        let lost = (mesh.mass(&end) - mass).abs();
        assert!(lost < 1e-12, "{name}: {lost:e} of the mass is lost");
        assert!(far < 4e-3, "{name}: total variation {far:e}");
        // And so are simulated paths distributed, the middle level included.
        let draws = Draws::new(22).purpose(name);
        let n = 4000;
        let level = schedule.level(first);
        let x0 = host(&data.sample(n, &draws, &cpu()));
        let noised = |(i, x): (usize, &f64)| {
            level.alpha * x + level.sigma * draws.purpose("start").normal_f64(i as u64, 0)
        };
        let x: Vec<f64> = x0.iter().enumerate().map(noised).collect();
        let rows: Vec<u64> = (0..n as u64).collect();
        let half = sde.simulate(doubles(&x, 1), &times[..=600], &rows, &draws, |_, _| {}).unwrap();
        let later = draws.purpose("later");
        let x = sde.simulate(half.clone(), &times[600..], &rows, &later, |_, _| {}).unwrap();
        let middle = exact(&data, &mesh, schedule.level(times[600]));
        for (x, density) in [(half, middle), (x, end)] {
            let distance = off(&x, &mesh, &density);
            assert!(distance < 1.1 * KOLMOGOROV, "{name}: √n D = {distance}");
        }
    }
}

/// The forward process of the family with the same marginals (I, sec. 6.3.1.6): dx = (f x − ½ λ g² ∇log p_t) dt +
/// √(1 − λ) g dW, whose drift is far from linear.
fn of_family(data: GaussianMixture, schedule: AnySchedule, lambda: f64) -> Sde {
    let copy = schedule.clone();
    Sde::new(
        move |x, t| {
            let score = data.score(x.clone(), &schedule.level(t).into()).unwrap();
            let of_score = -0.5 * lambda * schedule.diffusion_squared(t);
            x.clone().mul_scalar(schedule.drift(t)) + score.mul_scalar(of_score)
        },
        move |x, t| {
            let g = ((1.0 - lambda) * copy.diffusion_squared(t)).sqrt();
            Tensor::full([1, 1], g, (&x.device(), x.dtype()))
        },
    )
}

#[test]
fn the_family_of_equivalent_processes_moves_one_density_with_order_2_in_the_spacing() {
    let vp = schedule("vp-linear");
    let (first, last) = (1e-3, 0.35);
    for lambda in [0.0, 0.5, 0.9] {
        let sde = of_family(on_the_line(), vp.clone(), lambda);
        let error = |cells: usize| {
            let mesh = Mesh::line(Axis { low: -6.0, high: 6.0, cells }).unwrap();
            let start = exact(&on_the_line(), &mesh, vp.level(first));
            // Order 1 in time: four times as many steps for half the spacing.
            let steps = cells * cells / 25;
            let at = |k: usize| first + (last - first) * k as f64 / steps as f64;
            let times: Vec<f64> = (0..=steps).map(at).collect();
            let end = mesh.evolve(&sde, start, &times, |_, _| {}).unwrap();
            total_variation(&mesh, &end, &exact(&on_the_line(), &mesh, vp.level(last)))
        };
        let errors = [50, 100, 200].map(error);
        let orders = orders(&errors);
        assert!(orders.iter().all(|o| (o - 2.0).abs() < 0.15), "{errors:?}, orders {orders:?}");
    }
}

/// Back in time, s = last − t: dx = (−f x + ½ (1 + η) g² ∇log p_t) ds + √η g dW takes the noised density to the data's
/// for every churn η, not on Gaussians only.
#[test]
fn reverse_processes_of_any_churn_move_noise_to_the_mixture() {
    let vp = schedule("vp-linear");
    let (first, last) = (1e-3, 0.35);
    let mesh = Mesh::line(Axis { low: -6.0, high: 6.0, cells: 300 }).unwrap();
    let (noise, right) = (
        exact(&on_the_line(), &mesh, vp.level(last)),
        exact(&on_the_line(), &mesh, vp.level(first)),
    );
    let times: Vec<f64> = (0..=1500).map(|k| (last - first) * f64::from(k) / 1500.0).collect();
    for churn in [0.2, 0.6, 1.0] {
        let (schedule, copy, data) = (vp.clone(), vp.clone(), on_the_line());
        let back = Sde::new(
            move |x, s| {
                let t = last - s;
                let score = data.score(x.clone(), &schedule.level(t).into()).unwrap();
                let of_score = 0.5 * (1.0 + churn) * schedule.diffusion_squared(t);
                score.mul_scalar(of_score) - x.clone().mul_scalar(schedule.drift(t))
            },
            move |x, s| {
                let g = (churn * copy.diffusion_squared(last - s)).sqrt();
                Tensor::full([1, 1], g, (&x.device(), x.dtype()))
            },
        );
        let end = mesh.evolve(&back, noise.clone(), &times, |_, _| {}).unwrap();
        let (far, way) =
            (total_variation(&mesh, &end, &right), total_variation(&mesh, &noise, &right));
        assert!(far < 3e-3 && way > 0.2, "churn {churn}: {far:e} after a way of {way}");
    }
}

#[test]
fn densities_in_the_plane_move_as_their_closed_forms() {
    let vp = schedule("vp-linear");
    for (lambda, cells) in [(0.0, 120), (0.6, 120)] {
        let axis = Axis { low: -5.0, high: 5.0, cells };
        // Unequal cells and box: the axes must not be confused.
        let other = Axis { low: -5.5, high: 5.0, cells: cells + 20 };
        let mesh = Mesh::plane(axis, other).unwrap();
        let start = exact(&in_the_plane(), &mesh, vp.level(1e-3));
        let mass = mesh.mass(&start);
        let times: Vec<f64> = (0..=200).map(|k| 1e-3 + 0.3 * f64::from(k) / 200.0).collect();
        let sde = match lambda {
            0.0 => Sde::linear(Arc::new(vp.clone())),
            _ => of_family(in_the_plane(), vp.clone(), lambda),
        };
        let end = mesh.evolve(&sde, start.clone(), &times, |_, p| {
            assert!(p.iter().all(|p| *p >= 0.0));
        });
        let end = end.unwrap();
        let right = exact(&in_the_plane(), &mesh, vp.level(times[200]));
        let far = total_variation(&mesh, &end, &right);
        let way = total_variation(&mesh, &start, &right);
        assert!((mesh.mass(&end) - mass).abs() < 1e-12);
        assert!(far < 4e-3 && way > 0.2, "λ = {lambda}: {far:e} after a way of {way}");
    }
}

/// dx = −x (x² − 1) dt + g(x) dW with g² = 0.2 + 0.1 x²: both nonlinear, and multiplicative noise.
fn two_wells() -> Sde {
    Sde::new(
        |x, _| x.clone() - x.clone().square() * x.clone(),
        |x, _| x.clone().square().mul_scalar(0.1).add_scalar(0.2).sqrt(),
    )
}

#[test]
fn simulated_paths_have_the_density_of_the_mesh() {
    let n = 20_000usize;
    let mesh = Mesh::line(Axis { low: -4.0, high: 4.0, cells: 800 }).unwrap();
    let start = mesh.density(|x| (-0.5 * ((x[0] - 0.5) / 0.3).powi(2)).exp());
    let times: Vec<f64> = (0..=1000).map(|k| 2.0 * f64::from(k) / 1000.0).collect();
    let end = mesh.evolve(&two_wells(), start, &times, |_, _| {}).unwrap();
    let draws = Draws::new(21);
    let x: Vec<f64> = (0..n).map(|i| 0.5 + 0.3 * draws.normal_f64(i as u64, 0)).collect();
    let rows: Vec<u64> = (0..n as u64).collect();
    let x = two_wells().simulate(doubles(&x, 1), &times, &rows, &draws, |_, _| {}).unwrap();
    // The two schemes' own errors of order 1 in time are allowed a tenth of the bound.
    let distance = off(&x, &mesh, &end);
    assert!(distance < 1.1 * KOLMOGOROV, "√n D = {distance}");
    // Half of the particles are beyond the barrier or on their way: the judge sees a density that stays.
    let still = mesh.density(|x| (-0.5 * ((x[0] - 0.5) / 0.3).powi(2)).exp());
    assert!(total_variation(&mesh, &still, &end) > 0.3);
}

#[test]
fn the_stationary_density_stays() {
    // ½ (g² p)′ = f p: with g² = v constant, p ∝ exp(2 ∫ f/v), which the exponential fluxes keep almost exactly.
    let sde = Sde::new(
        |x, _| x.clone() - x.clone().square() * x.clone(),
        |x, _| Tensor::full([1, 1], 0.5f64.sqrt(), (&x.device(), x.dtype())),
    );
    let mesh = Mesh::line(Axis { low: -3.0, high: 3.0, cells: 300 }).unwrap();
    let still = mesh.density(|x| (4.0 * (0.5 * x[0].powi(2) - 0.25 * x[0].powi(4))).exp());
    let times: Vec<f64> = (0..=50).map(f64::from).collect();
    let end = mesh.evolve(&sde, still.clone(), &times, |_, _| {}).unwrap();
    let far = total_variation(&mesh, &still, &end);
    assert!(far < 2e-4, "{far:e}");
    // And it is where everything goes.
    let corner = mesh.density(|x| if x[0] > 2.9 { 1.0 } else { 0.0 });
    let end = mesh.evolve(&sde, corner, &times, |_, _| {}).unwrap();
    let far = total_variation(&mesh, &still, &end);
    assert!(far < 2e-4, "{far:e}");
    // Without diffusion the flux is upwind's and still positive.
    let carried = Sde::new(
        |x, _| Tensor::full([1, 1], 1.0, (&x.device(), x.dtype())),
        |x, _| Tensor::zeros([1, 1], (&x.device(), x.dtype())),
    );
    let start = mesh.density(|x| (-20.0 * (x[0] + 1.0).powi(2)).exp());
    let times: Vec<f64> = (0..=400).map(|k| f64::from(k) / 400.0).collect();
    let end = mesh.evolve(&carried, start, &times, |_, _| {}).unwrap();
    assert!(end.iter().all(|p| *p >= 0.0));
    assert!(mesh.expectation(&end, |x| x[0]).abs() < 1e-9);
}

#[test]
fn processes_without_a_mesh_are_refused() {
    let axis = |low: f64, high: f64, cells: usize| Axis { low, high, cells };
    for bad in
        [axis(1.0, 1.0, 4), axis(0.0, f64::INFINITY, 4), axis(0.0, 1.0, 1), axis(0.0, 1.0, 1 << 25)]
    {
        assert!(matches!(Mesh::line(bad), Err(Error::Config { .. })), "{bad:?}");
        assert!(matches!(Mesh::plane(axis(0.0, 1.0, 2), bad), Err(Error::Config { .. })));
    }
    let mesh = Mesh::line(axis(-1.0, 1.0, 4)).unwrap();
    let go = |sde: &Sde, p: &[f64], times: &[f64]| mesh.evolve(sde, p.to_vec(), times, |_, _| {});
    let flat = [0.5; 4];
    assert!(matches!(go(&two_wells(), &flat[..3], &[0.0, 1.0]), Err(Error::Shape { .. })));
    assert!(matches!(go(&two_wells(), &flat, &[1.0, 0.0]), Err(Error::Config { .. })));
    let negative = [0.5, -0.1, 0.5, 0.5];
    assert!(matches!(go(&two_wells(), &negative, &[0.0, 1.0]), Err(Error::Config { .. })));
    let singular = Sde::new(|x, _| x.clone().recip(), |x, _| x.clone());
    assert!(matches!(go(&singular, &flat, &[0.0, 1.0]), Err(Error::Diverged { .. })));
}

#[test]
fn the_picture_has_densities_in_their_places() {
    // A narrow density at (−1, 1), upper left, goes down and right; and one on the line.
    let axis = Axis { low: -2.0, high: 2.0, cells: 40 };
    let mesh = Mesh::plane(axis, axis).unwrap();
    let at =
        |x: f64, y: f64| mesh.density(|p| (-8.0 * ((p[0] - x).powi(2) + (p[1] - y).powi(2))).exp());
    let moments = [("before".to_string(), at(-1.0, 1.0)), ("after".to_string(), at(1.0, -1.0))];
    let picture = densities(&mesh, &moments).unwrap();
    let (width, height) = picture.dimensions();
    // Viridis is yellow where the density is highest: much red and green, little blue.
    let yellow = |left: u32| {
        let mut middle = (0.0, 0.0, 0.0);
        for (x, y, p) in picture.enumerate_pixels() {
            // Left of the colour bar.
            let inside = x >= left && f64::from(x - left) < 0.355 * f64::from(width);
            if inside && p[0] > 200 && p[1] > 200 && p[2] < 100 {
                middle = (middle.0 + f64::from(x - left), middle.1 + f64::from(y), middle.2 + 1.0);
            }
        }
        assert!(middle.2 > 20.0);
        (middle.0 / middle.2, middle.1 / middle.2)
    };
    let (before, after) = (yellow(0), yellow(width / 2));
    assert!(after.0 - before.0 > 50.0 && after.1 - before.1 > 50.0, "{before:?}, {after:?}");
    let line = Mesh::line(axis).unwrap();
    let curve = line.density(|x| (-x[0] * x[0]).exp());
    assert!(densities(&line, &[("curve".to_string(), curve)]).unwrap().height() < height);
    assert!(matches!(densities(&line, &[]), Err(Error::Shape { .. })));
    let short = ("short".to_string(), vec![1.0; 39]);
    assert!(matches!(densities(&line, &[short]), Err(Error::Shape { .. })));
}
