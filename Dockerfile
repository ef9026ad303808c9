# Runs the demo, or any command of xeval; docs/ci.md has the lines. DEVICE is cpu, or cuda for NVIDIA GPUs.
FROM python:3.11-slim-bookworm
ARG DEVICE=cpu

RUN apt-get update \
    && apt-get install --yes --no-install-recommends make \
    && rm -rf /var/lib/apt/lists/*

# What takes long first, so that a change of xeval itself does not repeat it. PyPI's torch is a build for CUDA; uv knows
# where the others are.
COPY constraints.txt /xeval/
RUN python -m venv /opt/xeval \
    && /opt/xeval/bin/pip install --no-cache-dir --constraint /xeval/constraints.txt uv \
    && if [ "$DEVICE" = cpu ]; then export UV_TORCH_BACKEND=cpu; fi \
    && /opt/xeval/bin/uv pip install --no-cache --python /opt/xeval --constraint /xeval/constraints.txt torch

COPY . /xeval/
RUN /opt/xeval/bin/pip install --no-cache-dir --constraint /xeval/constraints.txt /xeval \
    && touch /opt/xeval/.installed \
    && useradd --create-home user \
    && chown --recursive user /xeval \
    && mkdir --mode 1777 /cache

ENV PATH=/opt/xeval/bin:$PATH HF_HOME=/cache/huggingface XEVAL_CACHE=/cache/xeval
USER user
WORKDIR /xeval
CMD ["make", "VENV=/opt/xeval", "demo"]
