//! The Dirac game: every rate against the eigenvalues of its discrete step.

use super::*;
use tweedie::game::{AnyGameLoss, AnyRegulariser, Dirac};

const RADIUS: f64 = 1e-2;

fn radius([theta, psi]: [f64; 2]) -> f64 {
    theta.hypot(psi)
}

fn game(step: f64, alternating: bool, regularisers: &[&str]) -> Dirac {
    let parse = |name: &&str| AnyRegulariser::parse(name).expect(name);
    let regularisers = regularisers.iter().map(parse).collect();
    Dirac { regularisers, alternating, ..Dirac::new(step) }
}

#[test]
fn alternating_steps_keep_their_radius_and_simultaneous_ones_leave() -> tweedie::Result<()> {
    for (loss, step) in [("non-saturating", 0.05), ("saturating", 0.03)] {
        let loss = AnyGameLoss::parse(loss)?;
        let path =
            Dirac { loss: loss.clone(), ..game(step, true, &[]) }.path([RADIUS, 0.0], 1000)?;
        for point in &path {
            close("radius", radius(*point), RADIUS, 0.01);
        }
        // They turn by half of a step each.
        let turned = (0.5 * step * 1000.0) % std::f64::consts::TAU;
        let [theta, psi] = path[1000];
        let angle = (-psi).atan2(theta).rem_euclid(std::f64::consts::TAU);
        within("angle", angle, turned, 0.05);
        let path = Dirac { loss, ..game(step, false, &[]) }.path([RADIUS, 0.0], 1000)?;
        let growth = (1.0 + step * step / 4.0).sqrt();
        for (k, point) in path.iter().enumerate() {
            close("radius", radius(*point), RADIUS * growth.powi(k as i32), 1e-3);
        }
        let rate = (radius(path[1000]) / RADIUS).ln() / 1000.0;
        close("rate", rate, growth.ln(), 0.02);
    }
    Ok(())
}

/// The moduli of the eigenvalues of a step with ψ′ = (1 − hγ) ψ − ½ h θ, and the rates of the flow.
fn moduli(h: f64, gamma: f64, alternating: bool) -> [f64; 2] {
    let half = 0.5 * h;
    let [[a, b], [c, d]] = match alternating {
        false => [[1.0, half], [-half, 1.0 - h * gamma]],
        true => [[1.0 - half * half, half * (1.0 - h * gamma)], [-half, 1.0 - h * gamma]],
    };
    let (mean, product) = (0.5 * (a + d), a * d - b * c);
    let inside: f64 = mean * mean - product;
    if inside < 0.0 { [product.sqrt(); 2] } else { [mean + inside.sqrt(), mean - inside.sqrt()] }
}

#[test]
fn zero_centred_penalties_shrink_the_game_at_the_rates_of_theory() -> tweedie::Result<()> {
    for (gamma, steps) in [(0.2, 400), (0.4, 400), (0.8, 400), (1.5, 60), (2.5, 40)] {
        for alternating in [true, false] {
            let h = 0.02;
            let mut all = Vec::new();
            for name in ["r1", "r2"] {
                let of = format!("{name}, weight = {gamma}");
                let found = game(h, alternating, &[&of]).multipliers(RADIUS, steps)?;
                for (found, right) in found.iter().zip(moduli(h, gamma, alternating)) {
                    close(format!("{of}, {alternating}"), found.ln(), right.ln(), 0.02);
                }
                all.push(found);
            }
            assert_eq!(all[0], all[1]);
            // For small steps, −γ/2 ± √(γ²/4 − ¼), or −γ/2 where the root is not real.
            let root = (0.25f64 * gamma * gamma - 0.25).max(0.0).sqrt();
            for (found, sign) in all[0].iter().zip([1.0, -1.0]) {
                let flow = -0.5 * gamma + sign * root;
                close(format!("γ = {gamma}, {alternating}"), found.ln() / h, flow, 0.05);
            }
        }
    }
    Ok(())
}

#[test]
fn clipping_and_one_centred_penalties_do_not_converge() -> tweedie::Result<()> {
    let wasserstein = AnyGameLoss::parse("wasserstein")?;
    for of in ["clipping, limit = 1.0", "gradient-penalty, weight = 1.0"] {
        let start = [0.5, 0.01];
        let path =
            Dirac { loss: wasserstein.clone(), ..game(0.05, true, &[of]) }.path(start, 2000)?;
        let last = &path[1500..];
        let far = last.iter().map(|point| point[0].abs()).fold(0.0, f64::max);
        assert!(far > 0.05, "{of}: θ ends within {far} of 0");
        assert!(last.iter().any(|p| p[0] * last[0][0] < 0.0) || far > 0.4, "{of}");
    }
    // The zero-centred penalty from the same start does.
    let path = Dirac { loss: wasserstein, ..game(0.05, true, &["r1"]) }.path([0.5, 0.01], 2000)?;
    assert!(radius(path[2000]) < 1e-6, "{:?}", path[2000]);
    Ok(())
}
