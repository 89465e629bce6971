# docker build -t ml-apprentice .
# docker run --rm ml-apprentice                                              trains the quickstart
# docker run --rm -p 8888:8888 ml-apprentice notebook                        the walkthrough
# docker run --rm -p 7860:7860 ml-apprentice demo                            a page to try it on
# docker run --rm -p 8888:8888 --shm-size=256m ml-apprentice serve           answers over HTTP
# docker run --rm ml-apprentice python run_multitask.py --help               any other command
#
# No run needs a network. docs/container.md says how to keep and to bring models.

ARG BASE=python:3.11.14-slim-bookworm


FROM ${BASE} AS backbone
WORKDIR /fetch
COPY multitask_encoder/__init__.py multitask_encoder/
COPY multitask_encoder/cli multitask_encoder/cli
RUN python -m multitask_encoder.cli.get_backbone minilm


FROM ${BASE} AS training
ARG PIP_EXTRA_INDEX_URL
ENV HF_HUB_OFFLINE=1 \
    PATH=/opt/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
RUN useradd --create-home --uid 1000 user \
    && install --directory --owner=user --group=user /app/runs
WORKDIR /app
# The package by its name alone, linked to this folder: a change of its code installs nothing again.
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY multitask_encoder/__init__.py multitask_encoder/
RUN python -m venv /opt/venv \
    && pip install --no-cache-dir --disable-pip-version-check -c constraints.txt -e .
COPY --from=backbone /fetch/backbones backbones


# What the demo and the service answer with. Only what a run reads is here: a change of anything
# else does not train again.
FROM training AS quickstart
COPY data data
COPY modeling modeling
COPY multitask_encoder multitask_encoder
COPY configs configs
RUN multitask-encoder train configs/quickstart.yaml --disable_tqdm true \
    && rm -r runs/quickstart/checkpoint-* \
    && chmod --recursive a+r runs/quickstart

# Another folder takes its place by `docker build --build-context model=FOLDER`.
FROM scratch AS model
COPY --from=quickstart /app/runs/quickstart /


FROM training AS app
RUN pip install --no-cache-dir --disable-pip-version-check -c constraints.txt \
        -e '.[notebook,demo,serve]' \
    # A question about news, which nobody without a network could be told.
    && jupyter labextension disable @jupyterlab/apputils-extension:announcements
COPY --from=model --chown=user:user / model
COPY . .
# What is changed in a notebook can be saved, here or in a folder that is mounted.
RUN chown --recursive user:user notebooks
USER user
EXPOSE 7860 8888
ENTRYPOINT ["scripts/entrypoint.sh"]
HEALTHCHECK --start-period=2m CMD ["scripts/entrypoint.sh", "healthy"]


FROM app AS notebook
CMD ["notebook"]


# The last stage is what a plain `docker build` makes; others go above it.
FROM app AS train
CMD ["train"]
