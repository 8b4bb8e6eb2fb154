//! Pictures of models of points in the plane: paths, densities and moving points.

use super::Pictures;
use crate::data::{Rows, Split};
use crate::draw::{Animation, Frame, Paths, flow, in_the_plane, movement, spread};
use crate::family::plane::Plane;
use crate::process::Level;
use crate::solve::{Ancestral, AnySolver, Moment};
use crate::{Error, Result};
use image::RgbImage;

/// The number of paths of either kind, the steps of the ODE's and of the SDE's paths, and the most data points of the
/// density.
const PATHS: u64 = 10;
const SMOOTH: usize = 60;
const ROUGH: usize = 300;
const DATA: usize = 1000;
/// The number of moving points, of frames, and hundredths of a second for each frame and for the last.
const MOVING: u64 = 700;
const FRAMES: usize = 40;
const EACH: u16 = 6;
const LAST: u16 = 200;

impl Pictures<'_> {
    /// Fails unless rows are points in the plane.
    fn plane(&self, what: &str) -> Result<()> {
        match in_the_plane(&self.model.space) {
            true => Ok(()),
            false => Err(Error::undefined(what, "there are only those of points in the plane")),
        }
    }

    /// Training data.
    fn training(&self, what: &str) -> Result<&Split> {
        let data = self.at.data.as_ref().map_err(|why| Error::undefined(what, why))?;
        Ok(&data.train)
    }

    /// At most a thousand training points, in model units.
    fn points(&self, what: &str) -> Result<Vec<[f64; 2]>> {
        let train = self.training(what)?.rows();
        let some = train.select(&spread(train.len(), DATA));
        let encoded = self.model.space.encode(&some)?;
        Ok(encoded.iter().map(|x| [f64::from(x[0]), f64::from(x[1])]).collect())
    }

    pub(super) fn flow(&self) -> Result<RgbImage> {
        let what = "a picture of paths over their density";
        self.plane(what)?;
        let data: Vec<f64> = self.points(what)?.iter().map(|x| x[0]).collect();
        let smooth = self.sampler.clone().with_solver(AnySolver::default()).with_steps(SMOOTH);
        let rough = AnySolver::Ancestral(Ancestral::default());
        let rough = self.sampler.clone().with_solver(rough).with_steps(ROUGH);
        let kinds = [
            ("Probability-flow ODE: the same noise, one way", smooth, SMOOTH),
            ("Reverse SDE: noise on the way", rough, ROUGH),
        ];
        let paths = kinds.into_iter().map(|(title, sampler, steps)| {
            let moments = self.path(&sampler, PATHS, steps + 1)?;
            let all =
                moments.iter().map(|m| Rows::from_tensor(&m.x)).collect::<Result<Vec<_>>>()?;
            let path = |i: usize| all.iter().map(|rows| f64::from(rows.row(i)[0])).collect();
            let levels: Vec<Level> = moments.iter().map(|moment| moment.level).collect();
            let values = (0..PATHS as usize).map(path).collect();
            Ok(Paths { title: title.into(), levels, values })
        });
        let info = self.model;
        let name = format!("{}, scaled, model units", info.space.column_name(0));
        flow(
            &paths.collect::<Result<Vec<Paths>>>()?,
            &data,
            &*self.model.schedule,
            info.sigma_data,
            &name,
        )
    }

    /// An animation of points on their path from noise to data, over the data's density.
    ///
    /// # Errors
    /// [`Error::Undefined`] if the run is not of points in the plane, or its data cannot be read; errors of sampling.
    pub fn movement(&self) -> Result<Animation> {
        let what = "a moving picture of points";
        self.plane(what)?;
        let data = self.points(what)?;
        let sampler = self.sampler.clone().with_solver(AnySolver::default()).with_steps(2 * SMOOTH);
        let moments = self.path(&sampler, MOVING, FRAMES)?;
        let frame = |moment: &Moment| -> Result<Frame> {
            let rows = Rows::from_tensor(&moment.x)?;
            Ok((moment.level, rows.iter().map(|x| [f64::from(x[0]), f64::from(x[1])]).collect()))
        };
        let frames = moments.iter().map(frame).collect::<Result<Vec<Frame>>>()?;
        let info = self.model;
        let names = [0, 1].map(|k| format!("{}, scaled, model units", info.space.column_name(k)));
        let frames = movement(&frames, &data, info.sigma_data, [&names[0], &names[1]])?;
        Ok(Animation { frames, each: EACH, last: LAST })
    }

    /// The data, or their density where known, beside the model's density by the probability-flow ODE.
    pub(super) fn density(&self) -> Result<RgbImage> {
        let plane = Plane {
            space: &self.model.space,
            classes: &self.model.classes,
            density: &self.model.pf_ode(),
            title: "Density of the model, by its probability-flow ODE",
        };
        plane.draw(self.at)
    }
}
