//! `tweedie reproduce`: its figures, what is refused, and the page that it writes of runs that are trained.

use crate::support::{content, digits, done, refused};
use serde_json::Value;
use std::path::Path;

#[test]
fn figures_are_listed_and_others_refused() {
    let here = tempfile::tempdir().unwrap();
    let listed = done(here.path(), &["reproduce"]);
    for name in ["mnist-diffusion", "mnist-likelihood", "fits", "paths"] {
        assert!(listed.contains(name), "{listed}");
    }
    let figure = "mnist-diffusion";
    for (words, arguments) in [
        (["figure", "mnist-diffusion"], vec!["mnist-difusion"]),
        (["--data", "folder"], vec![figure]),
        (["-n", "from 2"], vec![figure, "--data", "x", "-n", "1"]),
        (["--samples", "at least 2"], vec![figure, "--data", "x", "--samples", "1"]),
        (["--rows", "at least 1"], vec![figure, "--data", "x", "--rows", "0"]),
        (["--only", "mnist-edm"], vec![figure, "--data", "x", "--only", "mnist-edn"]),
        (["--output", ".md"], vec![figure, "--data", "x", "-o", "page.html"]),
    ] {
        refused(here.path(), 2, &words, &[&["reproduce"][..], &arguments].concat());
    }
}

/// A page of known distributions needs no data and no run.
#[test]
fn the_page_of_fits_has_its_numbers_and_pictures() {
    let here = tempfile::tempdir().unwrap();
    let told = done(here.path(), &["reproduce", "fits", "-o", "page/fits.md", "--json"]);
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!(told["page"], "page/fits.md");
    let page = std::fs::read_to_string(here.path().join("page/fits.md")).unwrap();
    for fit in told["fits"].as_array().unwrap() {
        let shown = format!("{:.4}", fit["deviation"].as_f64().unwrap());
        assert!(page.contains(&shown), "{shown} in {page}");
    }
    for file in page.split("](images/").skip(1).map(|rest| rest.split(')').next().unwrap()) {
        assert!(here.path().join("page/images").join(file).exists(), "{file}");
    }
}

/// A folder with runs of these names that are there already, on other data.
fn trained(names: &[&str]) -> tempfile::TempDir {
    let here = tempfile::tempdir().unwrap();
    for name in names {
        let run = here.path().join("runs").join(name);
        std::fs::create_dir_all(&run).unwrap();
        for file in ["run.json", "model.safetensors", "report.html"] {
            std::fs::copy(digits().join("run").join(file), run.join(file)).unwrap();
        }
    }
    std::fs::create_dir(here.path().join("page")).unwrap();
    here
}

/// What a figure says for machines, and its page; nothing is trained.
fn reproduced(here: &Path, figure: &str, more: &[&str]) -> (Value, String) {
    let before = content(&here.join("runs"));
    let fixed = ["reproduce", figure, "--data", "x", "-o", "page/figure.md", "--json"];
    let told = serde_json::from_str(&done(here, &[&fixed[..], more].concat())).unwrap();
    assert!(before == content(&here.join("runs")));
    (told, std::fs::read_to_string(here.join("page/figure.md")).unwrap())
}

#[test]
fn the_page_of_likelihoods_holds_what_was_measured() {
    let here = trained(&["mnist-ddpm", "mnist-vdm", "mnist-vp"]);
    // One run alone is measured first, without a page.
    let fixed = ["reproduce", "mnist-likelihood", "--data", "x", "-o", "page/figure.md"];
    let alone = [&fixed[..], &["--rows", "10", "--only", "mnist-vdm"]].concat();
    assert_eq!(done(here.path(), &alone), "");
    let kept: Vec<String> = content(&here.path().join("page")).into_keys().collect();
    assert_eq!(kept, ["figures/", "figures/mnist-vdm-bits.json"]);
    let (told, page) = reproduced(here.path(), "mnist-likelihood", &["--rows", "10"]);
    let bits = told["bits"].as_array().unwrap();
    let word = |line: &Value, key: &str| line[key].as_str().unwrap().to_string();
    let of = |line: &Value| (word(line, "run"), word(line, "decoder"), line["steps"].as_u64());
    let runs = ["mnist-ddpm", "mnist-vdm"].into_iter();
    let both = runs.flat_map(|run| ["noise", "network"].map(|decoder| (run, decoder)));
    let expected: Vec<_> = both
        .flat_map(|(r, d)| [None, Some(1000)].map(|steps| (r.to_string(), d.to_string(), steps)))
        .collect();
    assert_eq!(bits.iter().map(of).collect::<Vec<_>>(), expected);
    let number = |line: &Value, key: &str| line[key].as_f64().unwrap();
    let shown = |line: &Value, error: &str| {
        let text =
            format!("{:.4} ± {:.4}", number(line, "bits_per_dimension"), number(line, error));
        assert!(page.contains(&text), "{text} in {page}");
    };
    for line in bits {
        let parts = ["prior", "diffusion", "reconstruction"].map(|key| number(line, key));
        let sum = parts.iter().sum::<f64>();
        assert!((sum - number(line, "bits_per_dimension")).abs() < 1e-9, "{line}");
        shown(line, "standard_error");
    }
    // The same rows and noise, and a cleanest level at which both decoders tell all integers.
    assert_eq!(bits[0]["diffusion"], bits[2]["diffusion"]);
    let densities = told["densities"].as_array().unwrap();
    let names: Vec<String> = densities.iter().map(|line| word(line, "density")).collect();
    assert_eq!(names, ["ode", "ode", "sde", "sde", "elbo", "elbo"]);
    densities.iter().for_each(|line| shown(line, "bits_per_dimension_error"));
}

#[test]
fn the_page_of_exact_densities_holds_what_was_measured() {
    let here = tempfile::tempdir().unwrap();
    std::fs::create_dir(here.path().join("page")).unwrap();
    let made = ["made", "--set", "data.binarise=dynamic", "--out", "runs/mnist-made"];
    let glow = ["glow", "--set", "flow.depth=1", "--out", "runs/mnist-glow"];
    for recipe in [made, glow] {
        let few = ["--set", "training.steps=2", "--set", "evaluation.samples=4"];
        let labels = ["--set", "data.label=none", "--set", "training.held_out_every=2"];
        done(here.path(), &[&["train"][..], &recipe, &few, &labels].concat());
    }
    let copies = [
        ("made", "pixelcnn"),
        ("made", "pixelcnn-grey"),
        ("glow", "made-gaussians"),
        ("glow", "maf"),
    ];
    for (from, to) in copies {
        let run = |name: &str| here.path().join("runs").join(format!("mnist-{name}"));
        std::fs::create_dir(run(to)).unwrap();
        for file in ["run.json", "model.safetensors", "report.html", "time.json", "curves.jsonl"] {
            std::fs::copy(run(from).join(file), run(to).join(file)).unwrap();
        }
    }
    let (told, page) = reproduced(here.path(), "mnist-densities", &["--rows", "30"]);
    let (grey, bits) = page.split_once("## 256 levels").unwrap();
    for run in told["models"].as_array().unwrap() {
        assert_eq!(run["steps"], 2);
        let name = run["run"].as_str().unwrap();
        let binary = ["mnist-made", "mnist-pixelcnn"].contains(&name);
        let exact = binary || name == "mnist-pixelcnn-grey";
        assert!(run["cpu_minutes"].as_f64().unwrap() > 0.0);
        let curve = run["validation"].as_array().unwrap();
        let (step, value) = (curve[0][0].as_f64().unwrap(), curve[0][1].as_f64().unwrap());
        // 64 pixels have up to 64 ln 2 nats as zeros and ones, which some are here throughout, and 2 to 8 bits each.
        let likely = if binary { 20.0..64.0 } else { 0.5..9.0 };
        assert!(curve.len() == 1 && step == 2.0 && likely.contains(&value), "{name}: {value}");
        let lines = run["log_p"].as_array().unwrap();
        assert_eq!(lines.len(), if exact { 1 } else { 2 });
        for line in lines {
            let number = |key: &str| line[key].as_f64().unwrap();
            let shown = match binary {
                true => format!("{:.2} ± {:.2}", -number("mean"), number("standard_error")),
                false => format!("{:.3} ±", number("bits_per_dimension")),
            };
            let part = if binary { grey } else { bits };
            assert!(part.contains(name) && part.contains(&shown), "{shown} of {name} in {page}");
            assert_eq!(line["kind"], if exact { "exact" } else { "lower-bound" });
        }
    }
    for picture in ["mnist-densities-binary.png", "mnist-densities-levels.png"] {
        assert!(page.contains(&format!("(images/{picture})")), "{page}");
        assert!(here.path().join("page/images").join(picture).exists());
    }
}

#[test]
fn the_page_of_quality_holds_what_was_measured() {
    let names = ["ddpm", "vdm", "edm", "vp", "sub-vp", "ve", "ncsn"].map(|n| format!("mnist-{n}"));
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let here = trained(&names);
    let more = ["--samples", "50", "-n", "40", "--steps", "2,3"];
    let (told, page) = reproduced(here.path(), "mnist-diffusion", &more);
    assert_eq!(told["own"]["points"].as_array().unwrap().len(), 7);
    assert_eq!(told["steps"]["points"].as_array().unwrap().len(), 14);
    for name in &names {
        assert!(page.matches(&format!("| {name} |")).count() == 3, "{page}");
    }
    let score = &told["own"]["points"][0]["scores"][0];
    let number = |key: &str| score[key].as_f64().unwrap();
    let shown = format!("{:.4} ± {:.4}", number("value"), number("standard_error"));
    assert!(page.contains(&shown), "{shown} in {page}");
    // What was measured is read the second time, without the runs where asked, and measured anew where it is of another
    // number of samples.
    let before = content(&here.path().join("page"));
    assert_eq!(reproduced(here.path(), "mnist-diffusion", &more), (told.clone(), page.clone()));
    assert!(before == content(&here.path().join("page")));
    let without = [&more[..], &["--runs", "none"]].concat();
    let reused = [&without[..], &["--reuse"]].concat();
    assert_eq!(reproduced(here.path(), "mnist-diffusion", &reused), (told.clone(), page.clone()));
    let again = [&["reproduce", "mnist-diffusion", "--data", "x"][..], &without].concat();
    refused(here.path(), 2, &["data.source", "x"], &again);
    // A run whose recipe was edited is measured anew.
    let edited = here.path().join("runs/mnist-edm/run.json");
    let text = std::fs::read_to_string(&edited).unwrap();
    std::fs::write(&edited, text + "\n").unwrap();
    reproduced(here.path(), "mnist-diffusion", &more);
    let after = content(&here.path().join("page"));
    let changed: Vec<&String> = after
        .keys()
        .filter(|name| name.ends_with(".json") && after[*name] != before[*name])
        .collect();
    let both = ["figures/mnist-edm-own-sampling.json", "figures/mnist-edm-own-solver.json"];
    assert_eq!(changed, both);
    let fewer = ["--samples", "30", "-n", "40", "--steps", "2,3"];
    let (other, _) = reproduced(here.path(), "mnist-diffusion", &fewer);
    assert_eq!(other["own"]["samples"], 30);
    // Every picture that the page shows is there.
    let pictures: Vec<&str> =
        page.split("](images").skip(1).filter_map(|rest| rest.split(')').next()).collect();
    assert!(pictures.len() > names.len());
    for picture in pictures {
        assert!(here.path().join(format!("page/images{picture}")).exists(), "{picture}");
    }
}
