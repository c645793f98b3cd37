FROM python:3.11-slim

WORKDIR /srv/millstream
COPY pyproject.toml README.md LICENSE NOTICE ./
COPY sdk/python sdk/python
COPY sdk/js sdk/js
COPY web web
COPY app app
COPY pipelines pipelines
COPY kernels kernels
COPY models models
COPY workers workers
RUN pip install --no-cache-dir torch==2.14.1 torchaudio==2.11.0 \
    && pip install --no-cache-dir ./sdk/python -e . \
    && useradd --create-home --uid 1000 millstream \
    && install -d -o millstream /cache
USER millstream
ENV MILLSTREAM_CACHE_DIR=/cache
EXPOSE 8000
CMD ["millstream", "serve"]
