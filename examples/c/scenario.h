// What the demo does with each service. Each function prints one line of JSON, and ends the program
// with an error when the service does not do what it should.
#ifndef SCENARIO_H
#define SCENARIO_H

#include <millstream.h>

void scenario_weather(mill_channel channel);
void scenario_logs(mill_channel channel, const char* data);
void scenario_chat(mill_channel channel);
void scenario_market(mill_channel channel);
void scenario_telemetry(mill_channel channel, const char* data);
void scenario_sync(mill_channel channel, const char* data);

/// Ends the program with an error, which is freed, and what it was about.
_Noreturn void fail(const char* what, mill_error* error);

#endif
