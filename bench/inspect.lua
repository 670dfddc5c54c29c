-- Requests of `cargo xtask bench inspect`: each with values of its own, so that nobody judges one text twice.
-- The first argument after `--` is what is sent: get, post or large.
local kind, number = "get", 0
local headers = {
  ["Host"] = "api.example.com",
  ["User-Agent"] = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
  ["Accept"] = "application/json, text/plain, */*",
  ["Accept-Language"] = "en-US,en;q=0.5",
  ["Authorization"] = "Bearer eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.c2lnbmF0dXJl",
  ["Cookie"] = "session=4f6a1c0b9e8d7a6f5e4d3c2b1a09f8e7; theme=dark",
}

local function order(items)
  local list = {}
  for item = 1, items do
    list[item] = string.format(
      '{"sku":"AB-%d-991","quantity":%d,"price":19.99,"title":"Blue running shoes, size 4%d"}',
      number + item, item % 10, item % 10)
  end
  return '{"customer":{"id":' .. number .. ',"name":"Jane Miller","email":"jane@example.com"},"items":['
    .. table.concat(list, ",")
    .. '],"note":"Please leave the parcel at the back door, thank you.","express":true}'
end

-- One long text, as an upload in JSON has it; many values would meet the limit on arguments.
local function large()
  return '{"id":' .. number .. ',"note":"' .. string.rep("Please leave the parcel at the back door. ", 24000) .. '"}'
end

function init(arguments)
  kind = arguments[1] or "get"
  number = math.random(10000, 90000)
end

function request()
  number = number + 1
  if kind == "get" then
    local query = "customer=" .. number .. "&status=open&sort=created_at&page=2&q=blue+shoes"
    return wrk.format("GET", "/api/v1/orders?" .. query, headers)
  end
  headers["Content-Type"] = "application/json"
  return wrk.format("POST", "/api/v1/orders", headers, kind == "post" and order(9) or large())
end
