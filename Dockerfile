# Two images of the programs and the training: `docker build --target cpu .` and `--target cuda .`; see docs/docker.md.

FROM python:3.12-slim-bookworm AS base
# A compiler, for torch.compile. Debian's stable release changes no versions that would matter.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends g++ \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 1000 asda \
    && mkdir /work && chown asda /work \
    && python -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH \
    VIRTUAL_ENV=/opt/venv \
    ASDA_USE_ACTIVE_ENV=1 \
    PYTHONUNBUFFERED=1
COPY . /opt/asda

# Builds of torch without CUDA: a tenth of the size.
FROM base AS cpu
RUN --mount=type=cache,target=/root/.cache/pip \
    PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu /opt/asda/scripts/setup.sh
USER 1000
WORKDIR /work
CMD ["asda-info", "--help"]

# PyPI's builds of torch bring CUDA along; of the machine they need the driver, which `docker run --gpus all` lends.
FROM base AS cuda
RUN --mount=type=cache,target=/root/.cache/pip /opt/asda/scripts/setup.sh
ENV NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
USER 1000
WORKDIR /work
CMD ["asda-info", "--help"]
