--- Applications of spec/bench/fairness.lua, which its processes have in common.

return { HONEST = "900", HOSTILE = "901", SECOND = "902" }
