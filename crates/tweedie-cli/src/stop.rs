//! Ctrl-C and SIGTERM: training stops at its next step, all else at once.

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// The signals, with the exit status of a program that each ends.
const SIGNALS: [(i32, u8); 2] = [(SIGINT, 130), (SIGTERM, 143)];

/// The signals that have arrived.
pub struct Stop {
    /// Whether a signal has come. The next signal ends the program at once.
    wanted: Arc<AtomicBool>,
    /// The exit status of the last signal; 0 before one.
    status: Arc<AtomicUsize>,
}

impl Stop {
    /// Listens to the signals; each ends the program at once until [`Stop::defer`].
    pub fn listen() -> Self {
        let stop = Self { wanted: Arc::new(AtomicBool::new(true)), status: Arc::default() };
        for (signal, status) in SIGNALS {
            // If registration fails, the signal ends the program, as without a handler.
            let at_once = Arc::clone(&stop.wanted);
            let _ = flag::register_conditional_shutdown(signal, status.into(), at_once);
            let _ = flag::register_usize(signal, Arc::clone(&stop.status), status.into());
            let _ = flag::register(signal, Arc::clone(&stop.wanted));
        }
        stop
    }

    /// Makes the next signal set [`Stop::status`] alone; a second one ends the program at once.
    pub fn defer(&self) {
        self.wanted.store(false, Ordering::SeqCst);
    }

    /// Makes every signal end the program at once.
    pub fn at_once(&self) {
        self.wanted.store(true, Ordering::SeqCst);
    }

    /// The exit status of the last signal, if one has arrived.
    pub fn status(&self) -> Option<u8> {
        u8::try_from(self.status.load(Ordering::SeqCst)).ok().filter(|status| *status > 0)
    }
}
