"""The generative model, in torch alone: noise schedule, network, denoiser, samplers, cascade."""
