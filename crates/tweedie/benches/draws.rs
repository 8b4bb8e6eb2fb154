//! Normals a second, by row width and number of threads: `cargo bench --bench draws`.

use std::time::Instant;
use tweedie::Draws;

fn main() {
    println!("{:>8} {:>8} {:>14}", "threads", "width", "M normals/s");
    for threads in [1, 2] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        let pool = pool.expect("threads can be started");
        for width in [2, 64, 3072] {
            let rows: Vec<u64> = (0..(1 << 23) / width).collect();
            let mut out = vec![0f32; rows.len() * width as usize];
            let mut seconds: Vec<f64> = (0..15)
                .map(|k| {
                    let draws = Draws::new(7).at(k);
                    let start = Instant::now();
                    let filled = pool.install(|| draws.fill_normals(&rows, &mut out));
                    filled.expect("whole rows");
                    start.elapsed().as_secs_f64()
                })
                .collect();
            seconds.sort_by(f64::total_cmp);
            let rate = out.len() as f64 / seconds[seconds.len() / 2] / 1e6;
            println!("{threads:>8} {width:>8} {rate:>14.0}");
        }
    }
}
