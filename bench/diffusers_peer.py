"""Random small UNet2DModels, saved by diffusers with a scheduler each, and what diffusers makes of them.

    python bench/diffusers_peer.py crates/tweedie/tests/fixtures/diffusers [NAME...]   # write the fixtures, or some
    python bench/diffusers_peer.py --schedulers crates/tweedie/tests/fixtures/diffusers   # schedulers.json alone
    python bench/diffusers_peer.py --check FOLDER...                         # load folders that tweedie exported

Needs torch, diffusers, scipy and safetensors. Each fixture is a pipeline folder as `save_pretrained` writes it, with
`expected.safetensors` beside it: the network's output for given pictures, times and conditions, a 10-step DDIM sample
(eta = 0) and a 50-step DDPM sample from the same start, the latter with given noise. `--check` writes the same file
into each folder, from diffusers' own loading of it. `schedulers.json` has where other schedulers end with the network of
`ddpm`.
"""

import json
import math
import pathlib
import sys

import diffusers
import torch
from diffusers import (
    DDIMPipeline,
    DDIMScheduler,
    DDPMPipeline,
    DDPMScheduler,
    DiffusionPipeline,
    ScoreSdeVePipeline,
    ScoreSdeVeScheduler,
    UNet2DModel,
)
from diffusers.schedulers import (
    scheduling_ddpm,
    scheduling_dpmsolver_multistep,
    scheduling_edm_dpmsolver_multistep,
    scheduling_euler_ancestral_discrete,
    scheduling_sde_ve,
)
from safetensors.torch import save_file

ROWS = 2


def numbers(seed, shape):
    """Unit-variance uniform numbers that any language can make: a 64-bit LCG's upper 53 bits."""
    state, values = seed, []
    for _ in range(math.prod(shape)):
        state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
        values.append(math.sqrt(3) * (2 * ((state >> 11) / 2**53) - 1))
    return torch.tensor(values, dtype=torch.float64).float().reshape(shape)


SMALL = dict(block_out_channels=(4, 8), norm_num_groups=2, layers_per_block=1, attention_head_dim=4)
PLAIN = dict(down_block_types=("DownBlock2D",) * 2, up_block_types=("UpBlock2D",) * 2)
ATTENTION = dict(
    down_block_types=("DownBlock2D", "AttnDownBlock2D"), up_block_types=("AttnUpBlock2D", "UpBlock2D")
)

FIXTURES = {
    # As the first DDPM checkpoints are configured.
    "ddpm": (
        dict(SMALL, **ATTENTION, sample_size=8, attention_head_dim=None, flip_sin_to_cos=False, freq_shift=1,
             downsample_padding=0, norm_eps=1e-6),
        DDPMScheduler(variance_type="fixed_large", clip_sample=True),
    ),
    "cosine": (
        dict(SMALL, **ATTENTION, sample_size=8, layers_per_block=2),
        DDPMScheduler(beta_schedule="squaredcos_cap_v2", prediction_type="v_prediction", clip_sample=False,
                      timestep_spacing="trailing"),
    ),
    "resnet-resampling": (
        dict(SMALL, sample_size=8, down_block_types=("ResnetDownsampleBlock2D",) * 2,
             up_block_types=("ResnetUpsampleBlock2D",) * 2, resnet_time_scale_shift="scale_shift",
             num_class_embeds=5),
        DDIMScheduler(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, clip_sample=False,
                      prediction_type="sample", set_alpha_to_one=False, steps_offset=1),
    ),
    "attention-resampling": (
        dict(SMALL, sample_size=8, in_channels=1, out_channels=1, down_block_types=("AttnDownBlock2D",) * 2,
             up_block_types=("AttnUpBlock2D",) * 2, downsample_type="resnet", upsample_type="resnet",
             center_input_sample=True, act_fn="gelu", resnet_time_scale_shift="scale_shift",
             attn_norm_num_groups=4, time_embedding_dim=12),
        DDPMScheduler(beta_schedule="sigmoid", clip_sample=False, thresholding=True,
                      dynamic_thresholding_ratio=0.9, sample_max_value=1.5),
    ),
    "fourier": (
        dict(SMALL, **PLAIN, sample_size=8, time_embedding_type="fourier", add_attention=False,
             mid_block_scale_factor=math.sqrt(2)),
        DDPMScheduler(steps_offset=1, clip_sample=True, clip_sample_range=1.5),
    ),
    "learned": (
        dict(SMALL, **PLAIN, sample_size=8, time_embedding_type="learned", num_train_timesteps=100,
             class_embed_type="timestep"),
        DDPMScheduler(num_train_timesteps=100, rescale_betas_zero_snr=True, prediction_type="v_prediction",
                      timestep_spacing="trailing", clip_sample=False),
    ),
    "three-levels": (
        dict(SMALL, sample_size=(8, 12), block_out_channels=(4, 8, 12), down_block_types=("DownBlock2D",
             "AttnDownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
             mid_block_type=None, class_embed_type="identity", act_fn="relu"),
        DDIMScheduler(timestep_spacing="trailing", clip_sample=True),
    ),
    # The variance between the two fixed ones, as the second half of the output.
    "learned-range": (
        dict(SMALL, **PLAIN, sample_size=8, in_channels=1, out_channels=2),
        DDPMScheduler(variance_type="learned_range", clip_sample=True),
    ),
    # The variance itself.
    "learned-variance": (
        dict(SMALL, **PLAIN, sample_size=8, in_channels=1, out_channels=2),
        DDPMScheduler(variance_type="learned", clip_sample=True),
    ),
}
# Class, configuration, steps.
SCHEDULERS = [
    ("DEISMultistepScheduler", dict(), 20),
    ("DEISMultistepScheduler", dict(solver_order=3, timestep_spacing="trailing"), 16),
    ("DEISMultistepScheduler", dict(solver_order=1, timestep_spacing="leading", steps_offset=1), 15),
    ("UniPCMultistepScheduler", dict(), 12),
    # Its B(h) = h, and its noise form, give NaN in a last step to sigma 0.
    ("UniPCMultistepScheduler", dict(solver_type="bh1", timestep_spacing="trailing", thresholding=True,
                                     final_sigmas_type="sigma_min", lower_order_final=False), 10),
    ("UniPCMultistepScheduler", dict(predict_x0=False, timestep_spacing="leading",
                                     final_sigmas_type="sigma_min", lower_order_final=False), 10),
    ("DPMSolverMultistepScheduler", dict(), 10),
    ("DPMSolverMultistepScheduler", dict(final_sigmas_type="sigma_min", timestep_spacing="leading"), 17),
    ("DPMSolverMultistepScheduler", dict(algorithm_type="sde-dpmsolver++", timestep_spacing="trailing"), 10),
    ("DPMSolverMultistepScheduler", dict(solver_order=1), 10),
    ("EulerDiscreteScheduler", dict(), 10),
    ("EulerDiscreteScheduler", dict(timestep_spacing="leading", steps_offset=1), 10),
    ("EulerAncestralDiscreteScheduler", dict(timestep_spacing="trailing"), 10),
    ("HeunDiscreteScheduler", dict(), 10),
    ("EDMEulerScheduler", dict(), 10),
    ("EDMEulerScheduler", dict(sigma_min=0.01, sigma_max=20.0, sigma_data=1.0, rho=5.0), 8),
    ("EDMEulerScheduler", dict(sigma_schedule="exponential"), 10),
    # Below 15 steps diffusers lowers the order of the last two.
    ("EDMDPMSolverMultistepScheduler", dict(), 16),
    ("EDMDPMSolverMultistepScheduler", dict(algorithm_type="sde-dpmsolver++"), 16),
    ("EDMDPMSolverMultistepScheduler", dict(solver_order=1, sigma_schedule="exponential"), 10),
    ("PNDMScheduler", dict(), 10),
    ("PNDMScheduler", dict(skip_prk_steps=True, steps_offset=1), 10),
    ("PNDMScheduler", dict(skip_prk_steps=True, set_alpha_to_one=True, timestep_spacing="trailing"), 10),
    # Its integrals are found by quadrature.
    ("LMSDiscreteScheduler", dict(), 10),
    ("LMSDiscreteScheduler", dict(timestep_spacing="trailing"), 20),
    ("LMSDiscreteScheduler", dict(timestep_spacing="leading", steps_offset=1), 8),
    ("FlowMatchEulerDiscreteScheduler", dict(), 10),
    ("FlowMatchEulerDiscreteScheduler", dict(shift=3.0), 12),
    ("FlowMatchHeunDiscreteScheduler", dict(shift=0.5), 6),
]
NOISY = [
    scheduling_dpmsolver_multistep,
    scheduling_edm_dpmsolver_multistep,
    scheduling_euler_ancestral_discrete,
]
SCORE = "score-sde-ve"
BINARY = "ddpm"  # saved once more with torch.save


def condition(config):
    if config.class_embed_type == "identity":
        return numbers(7, (ROWS, 4 * config.block_out_channels[0]))
    if config.num_class_embeds is not None or config.class_embed_type == "timestep":
        return torch.tensor([3, 1])
    return None


@torch.no_grad()
def expected(model, scheduler):
    config = model.config
    size = config.sample_size if isinstance(config.sample_size, (tuple, list)) else [config.sample_size] * 2
    shape = (ROWS, config.in_channels, *size)
    labels = condition(config)
    count = scheduler.config.num_train_timesteps
    output = model(numbers(1, shape), torch.tensor([count // 3, count - 7]), class_labels=labels).sample

    def run(scheduler, steps, **options):
        x = numbers(2, shape)
        scheduler.set_timesteps(steps)
        for k, t in enumerate(scheduler.timesteps):
            scheduling_ddpm.randn_tensor = lambda *a, **b: numbers(1000 + k, shape)
            output = model(x, t, class_labels=labels).sample
            # DDIM takes no variance.
            output = output[:, : config.in_channels] if isinstance(scheduler, DDIMScheduler) else output
            x = scheduler.step(output, t, x, **options).prev_sample
        return x

    # DDIMScheduler does not know every beta schedule by name.
    table = {"trained_betas": scheduler.betas.tolist()} if scheduler.config.beta_schedule == "sigmoid" else {}
    ddim = run(DDIMScheduler.from_config(scheduler.config, **table), 10, eta=0.0)
    ddpm = run(DDPMScheduler.from_config(scheduler.config), 50)
    return {"output": output, "ddim": ddim, "ddpm": ddpm}


@torch.no_grad()
def ends(model, name, config, steps):
    scheduler = getattr(diffusers, name)(**config)
    shape = (ROWS, model.config.in_channels, model.config.sample_size, model.config.sample_size)
    scheduler.set_timesteps(steps)
    # Schedulers of flow matching start at noise of 1 and take x as it is.
    start = float(getattr(scheduler, "init_noise_sigma", 1.0))
    scaled = getattr(scheduler, "scale_model_input", lambda x, t: x)
    x = numbers(2, shape) * start
    for k, t in enumerate(scheduler.timesteps):
        for module in NOISY:
            module.randn_tensor = lambda *a, **b: numbers(1000 + k, shape)
        x = scheduler.step(model(scaled(x, t), t).sample, t, x).prev_sample
    ends = [float(f"{v:.6g}") for v in x.flatten().tolist()]
    return {"config": scheduler.to_json_string(), "steps": steps, "start": start, "ends": ends}


def write_schedulers(root):
    model = UNet2DModel.from_pretrained(root / "ddpm" / "unet").eval()
    cases = [json.dumps(ends(model, *case)) for case in SCHEDULERS]
    (root / "schedulers.json").write_text("[\n" + ",\n".join(cases) + "\n]\n")


@torch.no_grad()
def write_score_sde(root):
    """A network of the score on the variance-exploding SDE, and 20 steps of its predictor alone."""
    torch.manual_seed(100)
    config = dict(SMALL, **PLAIN, sample_size=8, time_embedding_type="fourier", center_input_sample=True)
    model, scheduler = UNet2DModel(**config).eval(), ScoreSdeVeScheduler(sigma_max=50.0)
    ScoreSdeVePipeline(unet=model, scheduler=scheduler).save_pretrained(root / SCORE)
    scheduler.set_timesteps(20)
    scheduler.set_sigmas(20)
    shape = (ROWS, 3, 8, 8)
    x = numbers(2, shape) * scheduler.init_noise_sigma
    for k, t in enumerate(scheduler.timesteps):
        scheduling_sde_ve.randn_tensor = lambda *a, **b: numbers(1000 + k, shape)
        sigma = scheduler.sigmas[k] * torch.ones(ROWS)
        x, mean = scheduler.step_pred(model(x, sigma).sample, t, x, return_dict=False)
    output = model(numbers(1, shape), torch.tensor([0.02, 30.0])).sample
    save_file({"output": output, "reverse": mean}, root / SCORE / "expected.safetensors")


def write(root, names):
    if not names or SCORE in names:
        write_score_sde(root)
    for seed, (name, (config, scheduler)) in enumerate(FIXTURES.items()):
        if names and name not in names:
            continue
        torch.manual_seed(seed)
        model = UNet2DModel(**config).eval()
        for parameter in model.parameters():
            # Norms' scales and shifts, and biases, are not left where they begin.
            if parameter.ndim == 1 and parameter.requires_grad:
                parameter.data += 0.2 * torch.randn_like(parameter)
        if name == "learned-variance":
            # Only positive variances have square roots.
            model.conv_out.bias.data[config["in_channels"]] += 3.0
        pipeline = DDIMPipeline if isinstance(scheduler, DDIMScheduler) else DDPMPipeline
        pipeline = pipeline(unet=model, scheduler=scheduler)
        pipeline.save_pretrained(root / name)
        save_file(expected(model, scheduler), root / name / "expected.safetensors")
        if name == BINARY:
            pipeline.save_pretrained(root / f"{name}-bin", safe_serialization=False)
    if not names:
        write_schedulers(root)


def check(folder):
    pipeline = DiffusionPipeline.from_pretrained(folder)
    print(folder, type(pipeline).__name__, type(pipeline.scheduler).__name__)
    save_file(expected(pipeline.unet.eval(), pipeline.scheduler), folder / "expected.safetensors")


if __name__ == "__main__":
    if sys.argv[1] == "--schedulers":
        write_schedulers(pathlib.Path(sys.argv[2]))
    elif sys.argv[1] == "--check":
        for folder in sys.argv[2:]:
            check(pathlib.Path(folder))
    else:
        write(pathlib.Path(sys.argv[1]), sys.argv[2:])
