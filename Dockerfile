# docker build -t ml-apprentice .
# docker run --rm ml-apprentice                         trains the quickstart, without any network
# docker run --rm ml-apprentice python run_multitask.py --help
# docker run --rm -v ./runs:/app/runs ml-apprentice     keeps the trained model (a folder of user 1000)

ARG BASE=python:3.11.14-slim-bookworm


FROM ${BASE} AS backbone
WORKDIR /fetch
COPY scripts/get_backbone.py .
RUN python get_backbone.py minilm


FROM ${BASE} AS app
ENV HF_HUB_OFFLINE=1 \
    PATH=/opt/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
RUN useradd --create-home --uid 1000 user \
    && install --directory --owner=user --group=user /app /app/runs
COPY requirements.txt /tmp/
RUN python -m venv /opt/venv \
    && pip install --no-cache-dir --disable-pip-version-check --use-pep517 -r /tmp/requirements.txt
WORKDIR /app
COPY --from=backbone /fetch/backbones backbones
COPY . .
USER user


# The last stage is what a plain `docker build` makes; others go above it.
FROM app AS quickstart
CMD ["python", "run_multitask.py", "configs/quickstart.yaml"]
