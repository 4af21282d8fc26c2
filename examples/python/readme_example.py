"""The README's example: every weather observation of the server, as a stream.

python readme_example.py http://127.0.0.1:50051
"""

# readme: begin
import sys

import millstream

target = sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:50051"
messages = size = 0

with millstream.channel(target) as channel:
    for observation in channel.server_stream("/weather.v1.Weather/GetWeatherStream", b""):
        messages += 1
        size += len(observation)

print(f"{messages} observations, {size} bytes")
# readme: end
