FROM python:3.12-slim
ENV ZENTRA_VENV=off PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /app
RUN useradd --system --create-home zentra && mkdir /data && chown zentra /data
COPY requirements.lock .
RUN pip install --no-cache-dir --require-hashes -r requirements.lock
COPY . .
USER zentra
CMD ["gunicorn", "-c", "python:zentra.gunicorn", "zentra.wsgi"]
