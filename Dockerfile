# The exporter, and nothing it does not need to run: no compiler, no pip of its own, no root.
#
#   docker build --tag orchestration-exporter .
#
# Any base with Python 3.11 or newer (venv included, for the first stage) does: --build-arg BASE_IMAGE=…
# An index other than pip's own: --build-arg PIP_INDEX_URL=…, or no index at all: the files that requirements.lock
# names in a folder `wheels`, and --build-arg PIP_NO_INDEX=1. Hashes are compared in every case.
ARG BASE_IMAGE=python:3.13-slim-trixie

FROM ${BASE_IMAGE} AS build
# pip reads these itself; of the last image they are no part
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
ARG PIP_TRUSTED_HOST
ARG PIP_NO_INDEX
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_NO_INPUT=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /build
# the brackets make it no error that there is no such folder
COPY requirements.lock wheel[s] wheels/
# pip stays in an environment of its own, and is told which one to fill
RUN python3 -m venv pip \
    && python3 -m venv --without-pip /opt/orchestration-exporter \
    && pip/bin/pip --python /opt/orchestration-exporter/bin/python install \
        --only-binary :all: --find-links wheels --require-hashes --requirement wheels/requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY exporter exporter
RUN pip/bin/pip --python /opt/orchestration-exporter/bin/python install --no-deps --no-build-isolation --no-index . \
    && pip/bin/pip --python /opt/orchestration-exporter/bin/python uninstall --yes setuptools \
    # volumes begin as these folders are: any user may make a state of its own, one demo a database
    && install -d -m 1777 /made/var/lib/orchestration-exporter \
    && install -d -m 0755 -o 10477 -g 10477 /made/database

FROM ${BASE_IMAGE}
ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="orchestration-exporter" \
      org.opencontainers.image.description="Prometheus exporter over the SQL tables of AI orchestration platforms" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /made/ /
COPY --from=build /opt/orchestration-exporter /opt/orchestration-exporter
ENV PATH=/opt/orchestration-exporter/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    PYTHONDONTWRITEBYTECODE=1 \
    ORCHESTRATION_EXPORTER_WEB_LISTEN_ADDRESS=:10477 \
    ORCHESTRATION_EXPORTER_STORAGE_PATH=/var/lib/orchestration-exporter/state
USER 10477:10477
EXPOSE 10477
HEALTHCHECK --interval=15s --timeout=10s --start-period=2m CMD ["orchestration-exporter", "health"]
ENTRYPOINT ["orchestration-exporter"]
