//! `tweedie reproduce`: its figures, what is refused, and the page that it writes of runs that are trained.

use crate::support::{content, digits, done, refused};
use serde_json::Value;

#[test]
fn figures_are_listed_and_others_refused() {
    let here = tempfile::tempdir().unwrap();
    assert!(done(here.path(), &["reproduce"]).contains("mnist-diffusion"));
    let figure = "mnist-diffusion";
    for (words, arguments) in [
        (["figure", "mnist-diffusion"], vec!["mnist-difusion"]),
        (["--data", "folder"], vec![figure]),
        (["-n", "from 2"], vec![figure, "--data", "x", "-n", "1"]),
        (["--rows", "at least 1"], vec![figure, "--data", "x", "--rows", "0"]),
        (["--output", ".md"], vec![figure, "--data", "x", "-o", "page.html"]),
    ] {
        refused(here.path(), 2, &words, &[&["reproduce"][..], &arguments].concat());
    }
}

/// Seven runs that are there already, on other data: none is trained, all are judged.
#[test]
fn the_page_holds_what_was_measured() {
    let here = tempfile::tempdir().unwrap();
    let names = ["ddpm", "vdm", "edm", "vp", "sub-vp", "ve", "ncsn"];
    for name in names {
        let run = here.path().join("runs").join(format!("mnist-{name}"));
        std::fs::create_dir_all(&run).unwrap();
        for file in ["run.json", "model.safetensors", "report.html"] {
            std::fs::copy(digits().join("run").join(file), run.join(file)).unwrap();
        }
    }
    let before = content(&here.path().join("runs"));
    let arguments = ["reproduce", "mnist-diffusion", "--data", "x", "-n", "40", "--rows", "6"];
    let more = ["--steps", "2,3", "-o", "page/figure.md", "--json"];
    std::fs::create_dir(here.path().join("page")).unwrap();
    let told: Value =
        serde_json::from_str(&done(here.path(), &[&arguments[..], &more].concat())).unwrap();
    assert!(before == content(&here.path().join("runs")));
    let bits = told["bits"].as_array().unwrap();
    let of = |line: &Value| (line["run"].as_str().unwrap().to_string(), line["steps"].as_u64());
    let expected = [
        ("mnist-ddpm", None),
        ("mnist-ddpm", Some(1000)),
        ("mnist-vdm", None),
        ("mnist-vdm", Some(1000)),
    ];
    assert_eq!(bits.iter().map(of).collect::<Vec<_>>(), expected.map(|(n, s)| (n.to_string(), s)));
    let page = std::fs::read_to_string(here.path().join("page/figure.md")).unwrap();
    for line in bits {
        let number = |key: &str| line[key].as_f64().unwrap();
        let parts = ["prior", "diffusion", "reconstruction"].map(number).iter().sum::<f64>();
        assert!((parts - number("bits_per_dimension")).abs() < 1e-9, "{line}");
        let text = format!("{:.4} ± {:.4}", number("bits_per_dimension"), number("standard_error"));
        assert!(page.contains(&text), "{text} in {page}");
    }
    assert_eq!(told["compared"]["points"].as_array().unwrap().len(), 14);
    for name in names {
        assert!(page.matches(&format!("| mnist-{name} |")).count() >= 2, "{page}");
    }
    // Every picture that the page shows is there.
    let pictures: Vec<&str> =
        page.split("](").skip(1).filter_map(|rest| rest.split(')').next()).collect();
    assert!(pictures.len() > names.len());
    for picture in pictures {
        assert!(here.path().join("page").join(picture).exists(), "{picture}");
    }
}
