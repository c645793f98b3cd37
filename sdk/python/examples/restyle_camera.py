"""The camera, or a film, restyled live, as Motion JPEG on the standard output:

    pip install 'millstream[camera]'
    python restyle_camera.py "starry night by van gogh" [FILM.mp4] | ffplay -f mjpeg -

MILLSTREAM_URL names the server, http://127.0.0.1:8000 if not set. This one is written without `async`.
"""

import os
import sys

from millstream import Reconnected, Restyled, sync
from millstream.camera import Camera

URL = os.environ.get("MILLSTREAM_URL", "http://127.0.0.1:8000")

prompt, *source = sys.argv[1:]
with Camera(*source, fps=15) as camera, sync.restyle(prompt, URL) as restyling:
    for event in restyling.watch(camera):
        match event:
            case Restyled(_, picture):
                sys.stdout.buffer.write(picture)
                sys.stdout.buffer.flush()
            case Reconnected(lost_pictures=lost):
                print(f"connected again; {lost} pictures were lost", file=sys.stderr)
print(f"{camera.dropped + restyling.dropped} pictures were left out", file=sys.stderr)
