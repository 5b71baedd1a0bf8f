" Vim syntax of Modelfiles, made from the tables in modelkit/language: `make golden` rewrites it.
if exists("b:current_syntax")
  finish
endif
syntax case match
syntax sync fromstart

syntax match modelfileComment /^\s*#.*$/ contains=@Spell
syntax match modelfileInstruction /\c^\s*\%(TEMPLATEFILE\|SYSTEMFILE\|ASSISTANT\|RENDERER\|REQUIRES\|TEMPLATE\|LICENSE\|PARSER\|SYSTEM\|DRAFT\|TOOLS\|FROM\|NAME\|TOOL\|USER\)\ze\%(\s\|$\)/ nextgroup=modelfileString skipwhite
syntax match modelfileInstruction /\c^\s*\%(PLATFORM\|QUANTIZE\|ADAPTER\|ENGINE\|EXPECT\|POLICY\|REPEAT\|UNSET\|FLAG\|ARG\|TRY\)\ze\%(\s\|$\)/ nextgroup=modelfileOperands,modelfileString skipwhite
syntax match modelfileInstruction /\c^\s*\%(SERVE\)\ze\%(\s\|$\)/ nextgroup=modelfileKey skipwhite
syntax match modelfileInstruction /\c^\s*\%(PARAMETER\)\ze\%(\s\|$\)/ nextgroup=modelfileText,modelfileKey,modelfileGone skipwhite
syntax match modelfileInstruction /\c^\s*\%(MESSAGE\)\ze\%(\s\|$\)/ nextgroup=modelfileRole skipwhite
syntax match modelfileBlock /\c^\s*\%(STAGE\|TEST\)\ze\%(\s\|$\)/ nextgroup=modelfileTitle skipwhite
syntax match modelfileTitle /\S.\{-}\ze\s*{\s*$/ contained contains=modelfileJoin
syntax match modelfileBrace /{\s*$/
syntax match modelfileBrace /^\s*}/
syntax match modelfileText /\%(^\|\s\)\@1<=\%(stop\)\ze\%(\s\|$\)/ contained nextgroup=modelfileString skipwhite
highlight default link modelfileText modelfileKey
syntax match modelfileKey /\%(^\|\s\)\@1<=\%(draft_num_predict\|frequency_penalty\|pipeline_parallel\|presence_penalty\|reasoning_parser\|max_concurrency\|tensor_parallel\|prefix_caching\|repeat_penalty\|repeat_last_n\|max_replicas\|accelerator\|num_predict\|speculative\|temperature\|tool_parser\|gpu_memory\|keep_alive\|matryoshka\|num_thread\|num_batch\|typical_p\|kv_cache\|main_gpu\|num_keep\|replicas\|thinking\|use_mmap\|api_key\|num_ctx\|num_gpu\|pooling\|image\|min_p\|top_k\|top_p\|host\|port\|seed\|stop\|task\)\ze\%(\s\|$\)/ contained nextgroup=modelfileOperands,modelfileString skipwhite
syntax match modelfileGone /\%(^\|\s\)\@1<=\%(rope_frequency_scale\|rope_frequency_base\|penalize_newline\|embedding_only\|mirostat_eta\|mirostat_tau\|num_parallel\|tensor_split\|keep_alive\|logits_all\|vocab_only\|use_mlock\|low_vram\|mirostat\|grammar\|num_gqa\|f16_kv\|tfs_z\|think\|numa\|env\)\ze\%(\s\|$\)/ contained nextgroup=modelfileString skipwhite
syntax match modelfileRole /\%(^\|\s\)\@1<=\%(assistant\|system\|user\)\ze\%(\s\|$\)/ contained nextgroup=modelfileString skipwhite

syntax cluster modelfileTags contains=modelfileTag,modelfileVariable
syntax cluster modelfileAmongWords contains=modelfileWord,modelfileKey,modelfileGone,modelfileNumber,modelfileOperator
syntax cluster modelfileAmongWords add=modelfileFlag,modelfileInner,modelfileVariable,modelfileJoin
" A quote closes only as the last thing on its line; everything up to there is text.
syntax region modelfileString matchgroup=modelfileQuote start=/"\{3}/ end=/"\{3}\ze\s*$/ contained contains=@modelfileTags
syntax region modelfileString matchgroup=modelfileQuote start=/"\%(""\)\@!/ end=/"\ze\s*$/ contained contains=@modelfileTags
syntax match modelfileString /[^ \t"].*$/ contained contains=@modelfileTags
syntax match modelfileOperands /[^ \t"].*$/ contained contains=@modelfileAmongWords
syntax region modelfileTag start=/{{/ end=/}}/ contained oneline
syntax region modelfileTag start=/{%/ end=/%}/ contained oneline
syntax match modelfileVariable /\${\h\w*}/ contained
syntax match modelfileInner /"[^"]*"/ contained
syntax match modelfileFlag /\%(^\|\s\)\@1<=--\?\a[^ \t=]*/ contained
syntax match modelfileNumber /\%(^\|[ \t<>=]\)\@1<=[+-]\?\d[0-9.]*\%(ms\|[smh%]\|[kMG]i\?B\)\?\ze\%([ \t,]\|$\)/ contained

syntax match modelfileWord /\%(^\|\s\)\@1<=\%(tokens_per_second\|production-stack\|safetensors_only\|no_remote_code\|finish_reason\|TEMPLATEFILE\|llama-server\|tensorrt-llm\|SYSTEMFILE\|kubernetes\|llama\.cpp\|max_tokens\|ASSISTANT\|PARAMETER\|approvals\|tool_call\|ttft\.p50\|ttft\.p90\|ttft\.p95\|ttft\.p99\|PLATFORM\|QUANTIZE\|RENDERER\|REQUIRES\|TEMPLATE\|contains\|e2e\.p50\|e2e\.p90\|e2e\.p95\|e2e\.p99\|itl\.p50\|itl\.p90\|itl\.p95\|itl\.p99\|lmstudio\|skypilot\|ADAPTER\|IQ2_XXS\|IQ3_XXS\|LICENSE\|MESSAGE\|api_key\|compose\|latency\|licence\|no_leak\|process\|quadlet\|similar\|systemd\|ENGINE\|EXPECT\|IQ2_XS\|IQ3_XS\|IQ4_NL\|IQ4_XS\|PARSER\|POLICY\|Q2_K_S\|Q3_K_L\|Q3_K_M\|Q3_K_S\|Q4_K_M\|Q4_K_S\|Q5_K_M\|Q5_K_S\|REPEAT\|SYSTEM\|equals\|errors\|kserve\|locked\|memory\|ollama\|sglang\|signed\|starts\|strict\|DRAFT\|IQ1_M\|IQ1_S\|IQ2_M\|IQ2_S\|IQ3_M\|IQ3_S\|MXFP4\|SERVE\|STAGE\|TOOLS\|TQ1_0\|TQ2_0\|UNSET\|judge\|llm-d\|nvfp4\|regex\|tests\|w4a16\|BF16\|FLAG\|FP16\|FP32\|FROM\|NAME\|Q2_K\|Q3_K\|Q4_0\|Q4_1\|Q4_K\|Q5_0\|Q5_1\|Q5_K\|Q6_K\|Q8_0\|TEST\|TOOL\|USER\|auto\|gptq\|int8\|json\|none\|soak\|vllm\|ARG\|F16\|F32\|TRY\|awq\|fp8\|jan\|ray\|tls\)\ze\%(\s\|$\)/ contained
syntax match modelfileJoin /\c\%(^\|\s\)\@1<=\%(AS\|EXTENDS\|PASS\|not\|speed\|imatrix\)\ze\s/ contained
syntax match modelfileOperator /\%(!=\|<=\|==\|>=\|<\|>\)\|\~=/ contained

highlight default link modelfileComment Comment
highlight default link modelfileInstruction Statement
highlight default link modelfileBlock Structure
highlight default link modelfileTitle Function
highlight default link modelfileBrace Delimiter
highlight default link modelfileJoin Keyword
highlight default link modelfileKey Identifier
highlight default link modelfileGone Error
highlight default link modelfileRole Constant
highlight default link modelfileWord Type
highlight default link modelfileString String
highlight default link modelfileQuote String
highlight default link modelfileInner String
highlight default link modelfileTag PreProc
highlight default link modelfileVariable PreProc
highlight default link modelfileNumber Number
highlight default link modelfileOperator Operator
highlight default link modelfileFlag Identifier

let b:current_syntax = "modelfile"
