use super::family::*;
use tweedie::data::{Source, Toy};
use tweedie::family::Integers;
use tweedie::tensor::mean_and_error;
use tweedie::train::Fit;
use tweedie::Result;

fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let f: Vec<&str> = stat[stat.rfind(')').unwrap() + 2..].split(' ').collect();
    (f[11].parse::<f64>().unwrap() + f[12].parse::<f64>().unwrap()) / 100.0
}

#[test]
#[ignore]
fn measure() -> Result<()> {
    let var = |name: &str, default: f64| std::env::var(name).ok().map_or(default, |v| v.parse().unwrap());
    let toy: Toy = std::env::var("TOY").unwrap_or("8gaussians".into()).parse()?;
    let data = Source::named(toy.name()).load()?;
    let fresh = toy.sample(20_000, 99);
    let truth: Vec<f64> = fresh.iter().map(|x| toy.log_density([x[0].into(), x[1].into()])).collect();
    let fit = Fit { batch: var("BATCH", 512.0) as usize, learning_rate: var("LR", 2e-3), ema: var("EMA", 0.999), ..Fit::default() };
    let steps = var("STEPS", 4000.0) as u64;
    let every = var("EVERY", 500.0) as u64;
    let (of, mut learner) = start_of(recipe(var("DEPTH", 16.0) as usize, var("HIDDEN", 64.0) as usize, fit), &data, steps)?;
    let start = cpu_seconds();
    for step in 0..steps {
        learner.step(step)?;
        if (step + 1) % every == 0 || step + 1 == steps {
            let spent = cpu_seconds() - start;
            let model = model(&of, &*learner, &data)?;
            let found = log_p(&*model, &fresh, Integers::None, "")?;
            let gap: Vec<f64> = truth.iter().zip(&found.value).map(|(p, q)| p - q).collect();
            let (mean, error) = mean_and_error(&gap);
            println!("{} steps, {spent:.0} cpu s: {mean:.4} ± {error:.4}", step + 1);
        }
    }
    Ok(())
}
