#!/bin/sh
# All requests of docs/api-v2.md, with curl.
# Start the server (npm start), then run: sh examples/curl.sh [url]
set -eu
url=${1:-${DOWELL_CHAT_URL:-http://127.0.0.1:3000}}
api=${url%/}/api/v2

# With the same id a retry does not store a message twice.
run=curl-example-$(date +%s)-$$

# call <title> <curl arguments>: prints the response, and exits the script on failure. Retries a lost answer.
call() {
  echo "# $1"
  shift
  status=0
  response=$(curl --silent --show-error --fail-with-body --retry 2 --retry-all-errors "$@") || status=$?
  printf '%s\n\n' "$response"
  return "$status"
}

json='Content-Type: application/json'

call 'Create room' "$api/room-control/" -H "$json" -d '{
  "user_id": "ABCD12345", "org_id": "DOWELL12345",
  "portfolio_name": "umair", "product_name": "WIFIQRCODE"
}'
room=$(printf '%s' "$response" | sed 's/.*"inserted_id":"\([0-9a-f]*\)".*/\1/')

call 'Send a message as the customer' "$api/room-service/" -H "$json" -d '{
  "type": "create_message", "room_id": "'"$room"'", "message_data": "The QR code does not open our network.",
  "side": false, "auther": "client", "message_type": "text", "client_message_id": "'"$run-1"'"
}'

call 'Send a message as the support team, form-encoded' "$api/room-service/" \
  -d type=create_message -d "room_id=$room" --data-urlencode 'message_data=Which phone do you use?' \
  -d side=true -d auther=Amara -d message_type=text -d "client_message_id=$run-2"

call 'Get messages by room id' "$api/room-service/?type=get_messages&room_id=$room"

call 'Get room by id' "$api/room-service/?type=get_room_by_id&room_id=$room"

call 'List rooms' "$api/room-list/?org_id=DOWELL12345&product_name=WIFIQRCODE"

call 'Delete room' -X GET "$api/room-service/" -H "$json" \
  -d '{"type": "delete_room", "room_id": "'"$room"'", "is_active": false}'
