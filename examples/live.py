"""Prints the events of an organisation's rooms, and resumes after a lost connection. Python 3.8 or newer, standard
library only.

Start the server (npm start), then run: python3 examples/live.py [url]
"""

import http.client
import json
import os
import random
import sys
import time
import urllib.error
import urllib.request

default = os.environ.get("DOWELL_CHAT_URL", "http://127.0.0.1:3000")
url = (sys.argv[1] if len(sys.argv) > 1 else default).rstrip("/")


def read_events(response):
    """Yields the id and data of each server-sent event."""
    event_id, data = None, []
    for line in response:
        name, _, value = line.decode().rstrip("\r\n").partition(": ")
        if name == "id":
            event_id = value
        elif name == "data":
            data.append(value)
        elif name == "" and data:
            yield event_id, json.loads("\n".join(data))
            data = []


def show(event):
    """Prints an event. One that cannot be printed must not stop the later ones."""
    try:
        print_event(event)
    except (KeyError, TypeError, ValueError) as error:
        print(f"(an event cannot be printed: {error!a})", file=sys.stderr, flush=True)
    except OSError as error:
        sys.exit(f"cannot print: {error}")


def print_event(event):
    if event["type"] == "reset":
        print(f"(events are missing: {event['reason']})", flush=True)
    elif event["type"] == "message.created":
        message = event["message"]
        print(f"{message['author']}: {message['messageData']}", flush=True)
    elif event["type"].startswith("room."):
        print(f"({event['type']}: {event['room']['userId']})", flush=True)


# Characters that the terminal's encoding lacks are printed as escapes.
sys.stdout.reconfigure(errors="backslashreplace")

# Keep this in a file to miss no event between two runs of the program.
last_event_id = None
failures = 0
while True:
    request = urllib.request.Request(f"{url}/api/v3/events?orgId=DOWELL12345")
    if last_event_id:
        request.add_header("Last-Event-ID", last_event_id)
    try:
        # The server sends a heartbeat every 20 seconds; after 45 without data the connection is dead.
        with urllib.request.urlopen(request, timeout=45) as response:
            for event_id, event in read_events(response):
                if event["type"] == "ready":
                    print("(live)", flush=True)
                    failures = 0
                show(event)
                # After show(), so that an event that was not handled comes again.
                last_event_id = event_id or last_event_id
    except urllib.error.HTTPError as error:
        if error.code < 500 and error.code not in (408, 429):
            sys.exit(f"{error.code} {error.read().decode()}")
    except (OSError, ValueError, http.client.HTTPException) as error:
        print(f"(no connection: {error})", file=sys.stderr, flush=True)
    failures = min(failures + 1, 12)
    time.sleep(random.uniform(max(0.25, 2 * (failures - 1)), min(0.5 + 2 * failures, 25)))
